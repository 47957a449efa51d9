#include <array>
#include <optional>

#include "guest/programs/kv/command.hpp"
#include "guest/programs/kv/expiry.hpp"

namespace understudy::kv {
namespace {

using Effect = Command::Effect;

void bulk_or_null(Call& call, const std::string* value) {
    if (value == nullptr) {
        call.reply.null();
    } else {
        call.reply.bulk(*value);
    }
}

// A new value ends the old one's life, unless it is told to keep it.
void set_fresh(Call& call, std::string_view key, std::string_view value, Time expiry) {
    call.store.assign(key, std::string(value));
    call.store.set_expiry(key, expiry);
}

void get(Call& call) {
    bulk_or_null(call, find_as<std::string>(call, call.arguments[1]));
}

// SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | KEEPTTL]
struct SetOptions {
    bool only_new = false;
    bool only_existing = false;
    bool get = false;
    bool keep_expiry = false;
    std::optional<Time> expiry;
};

SetOptions parse_set_options(const Call& call) {
    SetOptions options;
    for (std::size_t i = 3; i < call.arguments.size(); ++i) {
        const std::string option = upper_case(call.arguments[i]);
        const bool is_expiry = option == "EX" || option == "PX";
        if (option == "NX") {
            options.only_new = true;
        } else if (option == "XX") {
            options.only_existing = true;
        } else if (option == "GET") {
            options.get = true;
        } else if (option == "KEEPTTL") {
            options.keep_expiry = true;
        } else if (is_expiry && i + 1 < call.arguments.size() && !options.expiry) {
            const Time unit = option == "EX" ? kSecond : kMillisecond;
            options.expiry = expiry_after(call, parse_positive(call, call.arguments[++i]), unit);
        } else {
            throw_syntax_error();
        }
    }
    if ((options.only_new && options.only_existing) || (options.keep_expiry && options.expiry)) {
        throw_syntax_error();
    }
    return options;
}

void set(Call& call) {
    const SetOptions options = parse_set_options(call);
    const std::string_view key = call.arguments[1];
    const bool exists = call.store.find(key) != nullptr;
    const bool is_set = !(options.only_new && exists) && !(options.only_existing && !exists);
    if (options.get) {
        bulk_or_null(call, find_as<std::string>(call, key));
    } else if (is_set) {
        call.reply.ok();
    } else {
        call.reply.null();
    }
    if (is_set) {
        set_fresh(call, key, call.arguments[2],
                  options.keep_expiry && exists ? call.store.expiry(key) : options.expiry.value_or(kNever));
    }
}

void setnx(Call& call) {
    const bool exists = call.store.find(call.arguments[1]) != nullptr;
    if (!exists) {
        set_fresh(call, call.arguments[1], call.arguments[2], kNever);
    }
    call.reply.integer(exists ? 0 : 1);
}

void set_for(Call& call, Time unit) {
    const Time expiry = expiry_after(call, parse_positive(call, call.arguments[2]), unit);
    set_fresh(call, call.arguments[1], call.arguments[3], expiry);
    call.reply.ok();
}
void setex(Call& call) {
    set_for(call, kSecond);
}
void psetex(Call& call) {
    set_for(call, kMillisecond);
}

void getset(Call& call) {
    bulk_or_null(call, find_as<std::string>(call, call.arguments[1]));
    set_fresh(call, call.arguments[1], call.arguments[2], kNever);
}

void getdel(Call& call) {
    const std::string* value = find_as<std::string>(call, call.arguments[1]);
    bulk_or_null(call, value);
    if (value != nullptr) {
        call.store.erase(call.arguments[1]);
    }
}

void check_pairs(const Call& call) {
    if (call.arguments.size() % 2 == 0) {
        throw CommandError("ERR wrong number of arguments for '" + std::string(call.arguments[0]) + "' command");
    }
}

void set_pairs(Call& call) {
    for (std::size_t i = 1; i < call.arguments.size(); i += 2) {
        set_fresh(call, call.arguments[i], call.arguments[i + 1], kNever);
    }
}

void mset(Call& call) {
    check_pairs(call);
    set_pairs(call);
    call.reply.ok();
}

void msetnx(Call& call) {
    check_pairs(call);
    for (std::size_t i = 1; i < call.arguments.size(); i += 2) {
        if (call.store.find(call.arguments[i]) != nullptr) {
            call.reply.integer(0);
            return;
        }
    }
    set_pairs(call);
    call.reply.integer(1);
}

void mget(Call& call) {
    call.reply.array(call.arguments.size() - 1);
    for (const std::string_view key : call.arguments.subspan(1)) {
        const Value* value = call.store.find(key);
        bulk_or_null(call, value == nullptr ? nullptr : std::get_if<std::string>(value));
    }
}

void append(Call& call) {
    auto& value = make_as<std::string>(call, call.arguments[1]);
    if (value.size() + call.arguments[2].size() > call.settings.max_value) {
        throw CommandError("ERR string exceeds maximum allowed size (--max-value)");
    }
    value.append(call.arguments[2]);
    call.reply.integer(static_cast<std::int64_t>(value.size()));
}

void strlen_of(Call& call) {
    const auto* value = find_as<std::string>(call, call.arguments[1]);
    call.reply.integer(value == nullptr ? 0 : static_cast<std::int64_t>(value->size()));
}

void getrange(Call& call) {
    const std::int64_t start = parse_integer(call.arguments[2]);
    const std::int64_t stop = parse_integer(call.arguments[3]);
    const auto* value = find_as<std::string>(call, call.arguments[1]);
    const std::string_view all = value == nullptr ? std::string_view() : std::string_view(*value);
    const IndexRange range = index_range(start, stop, all.size());
    call.reply.bulk(all.substr(range.begin, range.end - range.begin));
}

void add(Call& call, std::int64_t amount) {
    const auto* value = find_as<std::string>(call, call.arguments[1]);
    std::int64_t number = value == nullptr ? 0 : parse_integer(*value);
    if (__builtin_add_overflow(number, amount, &number)) {
        throw CommandError("ERR increment or decrement would overflow");
    }
    call.store.assign(call.arguments[1], std::to_string(number));
    call.reply.integer(number);
}
void incr(Call& call) {
    add(call, 1);
}
void decr(Call& call) {
    add(call, -1);
}
void incrby(Call& call) {
    add(call, parse_integer(call.arguments[2]));
}
void decrby(Call& call) {
    std::int64_t amount = 0;
    if (__builtin_sub_overflow(std::int64_t{0}, parse_integer(call.arguments[2]), &amount)) {
        throw CommandError("ERR decrement would overflow");
    }
    add(call, amount);
}

constexpr std::array kCommands{
    Command{"GET", 2, Effect::kReads, get, 1, 1, 1},           Command{"SET", -3, Effect::kGrows, set, 1, 1, 1},
    Command{"SETNX", 3, Effect::kGrows, setnx, 1, 1, 1},       Command{"SETEX", 4, Effect::kGrows, setex, 1, 1, 1},
    Command{"PSETEX", 4, Effect::kGrows, psetex, 1, 1, 1},     Command{"GETSET", 3, Effect::kGrows, getset, 1, 1, 1},
    Command{"GETDEL", 2, Effect::kWrites, getdel, 1, 1, 1},    Command{"MSET", -3, Effect::kGrows, mset, 1, -1, 2},
    Command{"MSETNX", -3, Effect::kGrows, msetnx, 1, -1, 2},   Command{"MGET", -2, Effect::kReads, mget, 1, -1, 1},
    Command{"APPEND", 3, Effect::kGrows, append, 1, 1, 1},     Command{"STRLEN", 2, Effect::kReads, strlen_of, 1, 1, 1},
    Command{"GETRANGE", 4, Effect::kReads, getrange, 1, 1, 1}, Command{"INCR", 2, Effect::kGrows, incr, 1, 1, 1},
    Command{"DECR", 2, Effect::kGrows, decr, 1, 1, 1},         Command{"INCRBY", 3, Effect::kGrows, incrby, 1, 1, 1},
    Command{"DECRBY", 3, Effect::kGrows, decrby, 1, 1, 1},
};

}  // namespace

std::span<const Command> string_commands() {
    return kCommands;
}

}  // namespace understudy::kv
