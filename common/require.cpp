#include "common/require.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "common/tell.hpp"

namespace understudy {

void require(bool holds, std::string_view rule, const char* file, int line) {
    if (holds) {
        return;
    }
    const std::string message = fmt::format("{}:{}: broken invariant: {}", file, line, rule);
#ifdef UNDERSTUDY_MUTATIONS
    throw std::logic_error(message);
#else
    tell("understudy: {}\n", message);
    std::abort();
#endif
}

}  // namespace understudy
