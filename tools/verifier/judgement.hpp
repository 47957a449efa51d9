// What an answer of the server under test says about the writes before it.
#pragma once

#include <cstdint>
#include <string>

namespace understudy::tools {

struct Judgement {
    bool acknowledged_write = false;
    std::uint64_t lost_writes = 0;
    bool contradiction = false;
    std::string finding{};  // in words, when there is a loss or a contradiction
};

}  // namespace understudy::tools
