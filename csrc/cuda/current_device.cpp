// CurrentDevice by torch's guards, which leave a device alone that nothing in the process has used: cudaSetDevice would
// make a context on it, and fails where a GPU is for one process alone.
#include "current_device.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace les::cuda {

namespace {

c10::Device device_of(int index) { return {c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index)}; }
c10::impl::VirtualGuardImpl guard() { return c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA); }

}  // namespace

CurrentDevice::CurrentDevice(int index) : before_(guard().exchangeDevice(device_of(index)).index()) {}
CurrentDevice::~CurrentDevice() { guard().uncheckedSetDevice(device_of(before_)); }

}  // namespace les::cuda
