// What the fuzzers and the corpus test feed with arbitrary bytes. A target returns for any input; it crashes on a bug.
#pragma once

#include <string_view>

namespace understudy::arbiter::fuzz {

void wire(std::string_view bytes);  // a frame's payload
void wal(std::string_view bytes);   // a log segment

}  // namespace understudy::arbiter::fuzz
