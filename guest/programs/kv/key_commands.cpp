#include <array>
#include <vector>

#include "guest/programs/kv/command.hpp"
#include "guest/programs/kv/expiry.hpp"

namespace understudy::kv {
namespace {

using Effect = Command::Effect;

void del(Call& call) {
    std::int64_t erased = 0;
    for (const std::string_view key : call.arguments.subspan(1)) {
        erased += call.store.erase(key) ? 1 : 0;
    }
    call.reply.integer(erased);
}

void exists(Call& call) {
    std::int64_t found = 0;
    for (const std::string_view key : call.arguments.subspan(1)) {
        found += call.store.find(key) != nullptr ? 1 : 0;
    }
    call.reply.integer(found);
}

void expire_in(Call& call, Time unit) {
    const Time when = expiry_after(call, parse_integer(call.arguments[2]), unit);
    const std::string_view key = call.arguments[1];
    if (call.store.find(key) == nullptr) {
        call.reply.integer(0);
        return;
    }
    if (when <= call.store.now()) {
        call.store.erase(key);
    } else {
        call.store.set_expiry(key, when);
    }
    call.reply.integer(1);
}
void expire(Call& call) {
    expire_in(call, kSecond);
}
void pexpire(Call& call) {
    expire_in(call, kMillisecond);
}

// -2: no such key; -1: it does not expire.
void time_to_live(Call& call, Time unit) {
    if (call.store.find(call.arguments[1]) == nullptr) {
        call.reply.integer(-2);
        return;
    }
    const Time when = call.store.expiry(call.arguments[1]);
    call.reply.integer(when == kNever ? -1 : (when - call.store.now() + unit / 2) / unit);
}
void ttl(Call& call) {
    time_to_live(call, kSecond);
}
void pttl(Call& call) {
    time_to_live(call, kMillisecond);
}

void persist(Call& call) {
    const bool expires =
        call.store.find(call.arguments[1]) != nullptr && call.store.expiry(call.arguments[1]) != kNever;
    call.store.set_expiry(call.arguments[1], kNever);
    call.reply.integer(expires ? 1 : 0);
}

void type(Call& call) {
    static constexpr std::array<std::string_view, 5> kNames{"string", "list", "set", "hash", "zset"};
    const Value* value = call.store.find(call.arguments[1]);
    call.reply.status(value == nullptr ? "none" : kNames.at(value->index()));
}

void keys(Call& call) {
    std::vector<std::string_view> found;
    call.store.for_each([&](std::string_view key) {
        if (matches(call.arguments[1], key)) {
            found.push_back(key);
        }
    });
    call.reply.array(found.size());
    for (const std::string_view key : found) {
        call.reply.bulk(key);
    }
}

void rename(Call& call) {
    Value* value = call.store.find(call.arguments[1]);
    if (value == nullptr) {
        throw CommandError("ERR no such key");
    }
    if (call.arguments[1] != call.arguments[2]) {
        const Time expiry = call.store.expiry(call.arguments[1]);
        Value moved = std::move(*value);
        call.store.erase(call.arguments[1]);
        call.store.assign(call.arguments[2], std::move(moved));
        call.store.set_expiry(call.arguments[2], expiry);
    }
    call.reply.ok();
}

void dbsize(Call& call) {
    call.reply.integer(static_cast<std::int64_t>(call.store.size()));
}

void flush(Call& call) {
    call.store.clear();
    call.reply.ok();
}

constexpr std::array kCommands{
    Command{"DEL", -2, Effect::kWrites, del, 1, -1, 1},       Command{"UNLINK", -2, Effect::kWrites, del, 1, -1, 1},
    Command{"EXISTS", -2, Effect::kReads, exists, 1, -1, 1},  Command{"EXPIRE", 3, Effect::kWrites, expire, 1, 1, 1},
    Command{"PEXPIRE", 3, Effect::kWrites, pexpire, 1, 1, 1}, Command{"TTL", 2, Effect::kReads, ttl, 1, 1, 1},
    Command{"PTTL", 2, Effect::kReads, pttl, 1, 1, 1},        Command{"PERSIST", 2, Effect::kWrites, persist, 1, 1, 1},
    Command{"TYPE", 2, Effect::kReads, type, 1, 1, 1},        Command{"KEYS", 2, Effect::kReads, keys},
    Command{"RENAME", 3, Effect::kWrites, rename, 1, 2, 1},   Command{"DBSIZE", 1, Effect::kReads, dbsize},
    Command{"FLUSHALL", -1, Effect::kWrites, flush},          Command{"FLUSHDB", -1, Effect::kWrites, flush},
};

}  // namespace

std::span<const Command> key_commands() {
    return kCommands;
}

}  // namespace understudy::kv
