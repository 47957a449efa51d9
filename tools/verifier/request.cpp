#include "tools/verifier/request.hpp"

#include <fmt/format.h>

#include <iterator>

namespace understudy::tools {

std::string encode_request(std::initializer_list<std::string_view> words) {
    std::string bytes = fmt::format("*{}\r\n", words.size());
    for (const std::string_view word : words) {
        fmt::format_to(std::back_inserter(bytes), "${}\r\n{}\r\n", word.size(), word);
    }
    return bytes;
}

}  // namespace understudy::tools
