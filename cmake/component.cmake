# understudy_component(NAME SOURCES a.cpp ... [LINKS ...]): one static library of the project, included from the
# repository's root ("hypervisor/machine/machine.hpp").
function(understudy_component name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
  target_link_libraries(${name} PUBLIC ${arg_LINKS} PRIVATE understudy_warnings ${arg_PRIVATE_LINKS})
endfunction()

# understudy_proto(NAME FILE): a library of Protobuf code generated from FILE (relative to the current folder),
# included as "<folder>/<file>.pb.h".
function(understudy_proto name file)
  cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE folder)
  cmake_path(GET file STEM stem)
  set(out ${PROJECT_BINARY_DIR}/${folder}/${stem})
  add_custom_command(
    OUTPUT ${out}.pb.cc ${out}.pb.h
    COMMAND protobuf::protoc --proto_path=${PROJECT_SOURCE_DIR} --cpp_out=${PROJECT_BINARY_DIR} ${folder}/${file}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file} VERBATIM)
  add_library(${name} STATIC ${out}.pb.cc)
  target_include_directories(${name} SYSTEM PUBLIC ${PROJECT_BINARY_DIR})
  target_link_libraries(${name} PUBLIC protobuf::libprotobuf)
endfunction()
