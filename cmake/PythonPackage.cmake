# Finds installed Python packages without importing them, so that a broken or slow package cannot stop the build.

# Folder of package `name` into `variable`; empty if it is not installed.
function(python_package_folder name variable)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import importlib.util as u, pathlib as p; s = u.find_spec('${name}'); print(p.Path(s.origin).parent if s and s.origin else '', end='')"
    OUTPUT_VARIABLE folder ERROR_QUIET)
  set(${variable} "${folder}" PARENT_SCOPE)
endfunction()

# Version of distribution `name` into `variable`; empty if it is not installed.
function(python_package_version name variable)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import importlib.metadata as m; print(m.version('${name}'), end='')"
    OUTPUT_VARIABLE version ERROR_QUIET)
  set(${variable} "${version}" PARENT_SCOPE)
endfunction()

python_package_folder(pybind11 PYBIND11_DIR)
set(PYBIND11_CMAKE_DIR "${PYBIND11_DIR}/share/cmake/pybind11")
