// Times to live, as clients give them.
#pragma once

#include "guest/programs/kv/command.hpp"

namespace understudy::kv {

constexpr Time kSecond = std::chrono::seconds(1);
constexpr Time kMillisecond = std::chrono::milliseconds(1);

// `count` units from now. Throws CommandError when that is beyond time.
inline Time expiry_after(const Call& call, std::int64_t count, Time unit) {
    std::int64_t span = 0;
    std::int64_t when = 0;
    if (__builtin_mul_overflow(count, unit.count(), &span) ||
        __builtin_add_overflow(span, call.store.now().count(), &when)) {
        throw CommandError("ERR invalid expire time in '" + std::string(call.arguments[0]) + "' command");
    }
    return Time(when);
}

inline std::int64_t parse_positive(const Call& call, std::string_view text) {
    const std::int64_t value = parse_integer(text);
    if (value <= 0) {
        throw CommandError("ERR invalid expire time in '" + std::string(call.arguments[0]) + "' command");
    }
    return value;
}

}  // namespace understudy::kv
