# Warnings are errors in every file of ours, host and test code alike. Generated code (Protobuf) is exempt.
add_library(understudy_warnings INTERFACE)
target_compile_options(understudy_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Werror)
if(UNDERSTUDY_SANITIZE)
  add_compile_options(-fsanitize=${UNDERSTUDY_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${UNDERSTUDY_SANITIZE})
endif()
if(UNDERSTUDY_SANITIZE MATCHES undefined)
  # This check looks at an object through a pipe: out of descriptors, which tests bring about, it reports what is right.
  add_compile_options(-fno-sanitize=vptr)
endif()
if(UNDERSTUDY_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # GCC loses track of what is initialized in the code that a sanitizer adds; the sanitizers themselves look instead.
  add_compile_options(-Wno-maybe-uninitialized)
  if(UNDERSTUDY_SANITIZE MATCHES undefined)
    # Beside another sanitizer's, its shared runtime ignores where reports are to go.
    add_link_options(-static-libasan -static-libubsan)
  endif()
endif()
if(UNDERSTUDY_SANITIZE MATCHES thread)
  # The thread sanitizer does not understand fences; Asio's queues are locked without them.
  add_compile_definitions(BOOST_ASIO_DISABLE_FENCED_BLOCK)
endif()
if(UNDERSTUDY_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # the code under test reports its coverage to the fuzzer
endif()
