# understudy_test(NAME LABEL SOURCES a.cpp ... [LINKS ...] [LABELS extra ...] [TIMEOUT s]): one GoogleTest executable,
# run by CTest as one test per executable, with the labels unit, simulation, integration, kvm or net.
find_package(GTest REQUIRED)
function(understudy_test name label)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;LINKS;LABELS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/bin)
  target_link_libraries(${name} PRIVATE ${arg_LINKS} understudy_warnings GTest::gmock GTest::gtest GTest::gtest_main)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE UNDERSTUDY_BINARY_DIR="${PROJECT_BINARY_DIR}"
                                             UNDERSTUDY_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${label};${arg_LABELS}" TIMEOUT ${arg_TIMEOUT})
endfunction()
