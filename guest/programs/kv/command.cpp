#include "guest/programs/kv/command.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <new>

#include "guest/programs/kv/allocation.hpp"

namespace understudy::kv {
namespace {

constexpr std::size_t kMaxName = 32;

char to_upper(char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

std::string quoted(std::string_view text) {
    constexpr std::size_t kMaxQuoted = 64;
    return "'" + std::string(text.substr(0, kMaxQuoted)) + "'";
}

// Why the request cannot be run; empty: it can.
std::string refusal(const Call& call, const Command* command) {
    if (command == nullptr) {
        return "ERR unknown command " + quoted(call.arguments[0]);
    }
    const auto count = static_cast<int>(call.arguments.size());
    if (command->arity >= 0 ? count != command->arity : count < -command->arity) {
        return "ERR wrong number of arguments for " + quoted(call.arguments[0]) + " command";
    }
    if (command->effect == Command::Effect::kGrows && allocated_bytes() > call.settings.max_memory) {
        return "OOM command not allowed when used memory > 'maxmemory'.";
    }
    return {};
}

}  // namespace

CommandTable::CommandTable() {
    for (const auto& group : {connection_commands(), server_commands(), key_commands(), string_commands(),
                              list_commands(), set_commands(), hash_commands(), sorted_set_commands()}) {
        commands_.insert(commands_.end(), group.begin(), group.end());
    }
    for (std::size_t i = 0; i < commands_.size(); ++i) {
        by_name_.emplace(commands_[i].name, i);
    }
}

const Command* CommandTable::find(std::string_view name) const {
    if (name.size() > kMaxName) {
        return nullptr;
    }
    std::array<char, kMaxName> upper;
    std::transform(name.begin(), name.end(), upper.begin(), to_upper);
    const auto found = by_name_.find({upper.data(), name.size()});
    return found == by_name_.end() ? nullptr : &commands_[found->second];
}

void CommandTable::run(Call& call) const {
    const Command* command = find(call.arguments[0]);
    if (const std::string why = refusal(call, command); !why.empty()) {
        call.reply.error(why);
        return;
    }
    try {
        command->function(call);
    } catch (const CommandError& error) {
        call.reply.discard();
        call.reply.error(error.what());
    } catch (const std::bad_alloc&) {
        call.reply.discard();
        call.reply.error("OOM out of memory");
    }
}

std::string upper_case(std::string_view text) {
    std::string upper(text);
    std::transform(upper.begin(), upper.end(), upper.begin(), to_upper);
    return upper;
}

std::int64_t parse_integer(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        throw CommandError("ERR value is not an integer or out of range");
    }
    return value;
}

double parse_double(std::string_view text) {
    const bool has_plus = !text.empty() && text.front() == '+';
    const std::string_view digits = text.substr(has_plus ? 1 : 0);
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || std::isnan(value)) {
        throw CommandError("ERR value is not a valid float");
    }
    return value;
}

std::string format_double(double value) {
    std::array<char, 32> digits;
    return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr};
}

namespace {

// The class that starts behind `pattern`'s '[' matches `c`; `rest` becomes what follows its ']'.
bool matches_class(std::string_view pattern, char c, std::string_view& rest) {
    const bool negated = !pattern.empty() && pattern.front() == '^';
    bool found = false;
    std::size_t i = negated ? 1 : 0;
    for (; i < pattern.size() && pattern[i] != ']'; ++i) {
        if (pattern[i] == '\\' && i + 1 < pattern.size()) {
            ++i;
        }
        char low = pattern[i];
        char high = low;
        if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
            high = pattern[i + 2];
            i += 2;
        }
        if (low > high) {
            std::swap(low, high);
        }
        found = found || (low <= c && c <= high);
    }
    rest = pattern.substr(std::min(i + 1, pattern.size()));
    return found != negated;
}

}  // namespace

bool matches(std::string_view pattern, std::string_view text) {
    // Where the last star stood and what it was tried against: on a mismatch it takes one character more.
    std::string_view after_star;
    std::string_view text_at_star;
    bool has_star = false;
    while (!text.empty() || !pattern.empty()) {
        std::string_view rest;
        bool match = false;
        if (!pattern.empty() && pattern.front() == '*') {
            has_star = true;
            after_star = pattern.substr(1);
            text_at_star = text;
            pattern = after_star;
            continue;
        }
        if (!pattern.empty() && !text.empty()) {
            const char c = text.front();
            switch (pattern.front()) {
                case '?':
                    match = true;
                    rest = pattern.substr(1);
                    break;
                case '[':
                    match = matches_class(pattern.substr(1), c, rest);
                    break;
                case '\\':
                    if (pattern.size() > 1) {
                        pattern.remove_prefix(1);
                    }
                    [[fallthrough]];
                default:
                    match = pattern.front() == c;
                    rest = pattern.substr(1);
            }
        }
        if (match) {
            pattern = rest;
            text.remove_prefix(1);
        } else if (has_star && !text_at_star.empty()) {
            text_at_star.remove_prefix(1);
            text = text_at_star;
            pattern = after_star;
        } else {
            return false;
        }
    }
    return true;
}

IndexRange index_range(std::int64_t start, std::int64_t stop, std::size_t size) {
    const auto length = static_cast<std::int64_t>(size);
    const auto from_end = [&](std::int64_t index) { return index < 0 ? std::max(index, -length - 1) + length : index; };
    start = std::max<std::int64_t>(from_end(start), 0);
    stop = std::min(from_end(stop), length - 1);
    if (start > stop) {
        return {0, 0};
    }
    return {static_cast<std::size_t>(start), static_cast<std::size_t>(stop) + 1};
}

void throw_syntax_error() {
    throw CommandError("ERR syntax error");
}

}  // namespace understudy::kv
