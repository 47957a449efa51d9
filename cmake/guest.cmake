# understudy_guest_target(TARGET [UNCOUNTED]): builds TARGET (an executable or a library of C, C++ sources) for the
# guest, by understudy-cc and understudy-c++ instead of the project's compiler; UNCOUNTED: by the same compiler with the
# same options, but without counting. Call it right after add_executable() or add_library(): it drops the options that
# the folder gave (sanitizers) and keeps those that come later. Assembly sources (.S) are assembled as they are.
function(understudy_guest_target target)
  cmake_parse_arguments(arg "UNCOUNTED" "" "" ${ARGN})
  set(mode "")
  set(stamp "")
  if(arg_UNCOUNTED)
    set(mode ";--uncounted")
  else()
    # Names the pass as a dependency of each object.
    set(stamp "$<$<COMPILE_LANGUAGE:C,CXX>:SHELL:-include ${UNDERSTUDY_COUNT_STAMP}>")
  endif()
  set_target_properties(${target} PROPERTIES
    C_COMPILER_LAUNCHER "${PROJECT_BINARY_DIR}/understudy-cc${mode};--instead-of"
    CXX_COMPILER_LAUNCHER "${PROJECT_BINARY_DIR}/understudy-c++${mode};--instead-of"
    C_LINKER_LAUNCHER "${PROJECT_BINARY_DIR}/understudy-cc${mode};--instead-of"
    CXX_LINKER_LAUNCHER "${PROJECT_BINARY_DIR}/understudy-c++${mode};--instead-of"
    COMPILE_OPTIONS "${stamp}" LINK_OPTIONS "")
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  add_dependencies(${target} understudy_guest_toolchain)
endfunction()
