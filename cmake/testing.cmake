find_package(GTest REQUIRED)

# In a sanitized build every process of a test reports to files of this folder: tests/sanitizer.
set(UNDERSTUDY_REPORTS ${PROJECT_BINARY_DIR}/tests/reports)
foreach(sanitizer ASAN UBSAN TSAN)
  list(APPEND UNDERSTUDY_REPORT_OPTIONS
       ${sanitizer}_OPTIONS=path_list_append:log_path=${UNDERSTUDY_REPORTS}/${sanitizer}
       ${sanitizer}_OPTIONS=path_list_append:log_exe_name=1)
endforeach()

# understudy_test(NAME LABEL SOURCES a.cpp ... [LINKS ...] [LABELS extra ...] [TIMEOUT s]): one GoogleTest executable,
# run by CTest as one test per executable, with the labels unit, simulation, integration, kvm or net. A sanitized build
# has six times as long.
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
  if(UNDERSTUDY_SANITIZE)
    math(EXPR arg_TIMEOUT "6 * ${arg_TIMEOUT}")
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${label};${arg_LABELS}" TIMEOUT ${arg_TIMEOUT})
  if(UNDERSTUDY_SANITIZE)
    set_tests_properties(${name} PROPERTIES
      FIXTURES_REQUIRED sanitizer_reports ENVIRONMENT_MODIFICATION "${UNDERSTUDY_REPORT_OPTIONS}")
  endif()
endfunction()

# understudy_fuzz(NAME [SOURCES b.cpp ...] [LINKS ...]): the fuzz target in NAME.cpp (LLVMFuzzerTestOneInput). Everywhere
# it is a test, NAME_corpus_test, over corpus/NAME and damaged copies of it; with the preset fuzz also a libFuzzer
# program, NAME, and a short run of that as a test.
function(understudy_fuzz name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS" ${ARGN})
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
  understudy_test(${name}_corpus_test unit SOURCES ${PROJECT_SOURCE_DIR}/tests/corpus_test.cpp ${name}.cpp ${arg_SOURCES}
                  LINKS ${arg_LINKS})
  target_compile_definitions(${name}_corpus_test PRIVATE UNDERSTUDY_CORPUS="${corpus}")
  if(UNDERSTUDY_FUZZ)
    add_executable(${name} ${name}.cpp ${arg_SOURCES})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${name} PRIVATE ${arg_LINKS} understudy_warnings)
    # New inputs go to a folder of the build, the repository's corpus is only read.
    set(found ${CMAKE_CURRENT_BINARY_DIR}/found-${name})
    file(MAKE_DIRECTORY ${found})
    add_test(NAME ${name} COMMAND ${name} -max_total_time=20 -max_len=4096 ${found} ${corpus})
    set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 120)
  endif()
endfunction()
