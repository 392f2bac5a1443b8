// Release of Python's global lock through the symbols of the running interpreter, if there is one.
#include "internal/PythonLock.h"

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

namespace LESPlugin {

namespace {

template <class Function>
Function* pythonFunction([[maybe_unused]] const char* name) {
#if defined(_WIN32)
    return nullptr;
#else
    return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
#endif
}

struct Python {
    int (*isInitialized)() = pythonFunction<int()>("Py_IsInitialized");
    int (*holdsLock)() = pythonFunction<int()>("PyGILState_Check");
    void* (*saveThread)() = pythonFunction<void*()>("PyEval_SaveThread");
    void (*restoreThread)(void*) = pythonFunction<void(void*)>("PyEval_RestoreThread");

    bool found() const { return isInitialized && holdsLock && saveThread && restoreThread; }
};

const Python& python() {
    static const Python functions;
    return functions;
}

}  // namespace

PythonLockRelease::PythonLockRelease() {
    if (python().found() && python().isInitialized() && python().holdsLock()) threadState = python().saveThread();
}

PythonLockRelease::~PythonLockRelease() {
    if (threadState) python().restoreThread(threadState);
}

}  // namespace LESPlugin
