// Requests of the Redis protocol.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace understudy::tools {

// A command as its server reads it: {"SET", "key", "value"}.
[[nodiscard]] std::string encode_request(std::initializer_list<std::string_view> words);

}  // namespace understudy::tools
