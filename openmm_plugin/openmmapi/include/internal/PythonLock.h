// Gives Python's global lock back while the network runs. OpenMM holds it when a minimization reports to Python, and
// torch refuses to differentiate then. Python is looked up in the running process: the plugin does not link it.
#pragma once

namespace LESPlugin {

/// Releases the lock if this thread holds it, takes it again at the end of the scope.
class PythonLockRelease {
public:
    PythonLockRelease();
    ~PythonLockRelease();
    PythonLockRelease(const PythonLockRelease&) = delete;
    PythonLockRelease& operator=(const PythonLockRelease&) = delete;

private:
    void* threadState = nullptr;
};

}  // namespace LESPlugin
