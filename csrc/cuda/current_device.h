// The device that a thread works on, while one of ours does.
#pragma once

namespace les::cuda {

/// Makes a device current, and afterwards the one that was, on which no context is made by it: that would take memory
/// of a GPU that other processes work on. Needs load_torch_device before.
class CurrentDevice {
public:
    explicit CurrentDevice(int index);
    ~CurrentDevice();
    CurrentDevice(const CurrentDevice&) = delete;
    CurrentDevice& operator=(const CurrentDevice&) = delete;

private:
    int before_;
};

}  // namespace les::cuda
