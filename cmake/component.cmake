# understudy_component(NAME SOURCES a.cpp ... [LINKS ...] [PRIVATE_LINKS ...] [MUTANTS]): the static library of one
# folder, included from the repository's root ("hypervisor/machine/machine.hpp"). Its name is the folder's path.
#
# MUTANTS: a second library, NAME_mutants, with deliberate bugs that can be switched on (common/mutation.hpp). It links
# the mutants of what NAME links, where there are any. Simulations alone use it.
function(understudy_component name)
  cmake_parse_arguments(arg "MUTANTS" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
  target_link_libraries(${name} PUBLIC ${arg_LINKS} PRIVATE understudy_warnings ${arg_PRIVATE_LINKS})
  if(arg_MUTANTS)
    set(links "")
    foreach(link IN LISTS arg_LINKS)
      if(TARGET ${link}_mutants)
        list(APPEND links ${link}_mutants)
      else()
        list(APPEND links ${link})
      endif()
    endforeach()
    understudy_component(${name}_mutants SOURCES ${arg_SOURCES} LINKS ${links} PRIVATE_LINKS ${arg_PRIVATE_LINKS})
    target_compile_definitions(${name}_mutants PUBLIC UNDERSTUDY_MUTATIONS)
    set_target_properties(${name}_mutants PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
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
