// Lists, sets, hashes and sorted sets.
#include <algorithm>
#include <array>
#include <optional>

#include "guest/programs/kv/command.hpp"

namespace understudy::kv {
namespace {

using Effect = Command::Effect;

template <typename T>
void reply_size(Call& call) {
    const T* found = find_as<T>(call, call.arguments[1]);
    call.reply.integer(found == nullptr ? 0 : static_cast<std::int64_t>(found->size()));
}

// The optional count of a pop: nullopt: one element, and a reply that is no array.
std::optional<std::size_t> parse_count(const Call& call) {
    if (call.arguments.size() < 3) {
        return std::nullopt;
    }
    const std::int64_t count = parse_integer(call.arguments[2]);
    if (count < 0 || call.arguments.size() > 3) {
        throw CommandError("ERR value is out of range, must be positive");
    }
    return static_cast<std::size_t>(count);
}

void check_pairs(const Call& call, std::size_t first) {
    if ((call.arguments.size() - first) % 2 != 0) {
        throw CommandError("ERR wrong number of arguments for '" + std::string(call.arguments[0]) + "' command");
    }
}

// Pops from a collection: `take` removes the next element and replies it.
template <typename T, typename Take>
void pop(Call& call, Take take) {
    const auto count = parse_count(call);
    T* found = find_as<T>(call, call.arguments[1]);
    if (found == nullptr) {
        count ? call.reply.null_array() : call.reply.null();
        return;
    }
    if (count) {
        call.reply.array(std::min(*count, found->size()));
    }
    for (std::size_t i = 0; i < count.value_or(1) && !found->empty(); ++i) {
        take(*found);
    }
    erase_if_empty(call, call.arguments[1], *found);
}

// --- Lists --------------------------------------------------------------------------------------------------------

template <bool kLeft>
void push(Call& call) {
    auto& list = make_as<List>(call, call.arguments[1]);
    for (const std::string_view element : call.arguments.subspan(2)) {
        if constexpr (kLeft) {
            list.emplace_front(element);
        } else {
            list.emplace_back(element);
        }
    }
    call.reply.integer(static_cast<std::int64_t>(list.size()));
}

template <bool kLeft>
void pop_list(Call& call) {
    pop<List>(call, [&](List& list) {
        if constexpr (kLeft) {
            call.reply.bulk(list.front());
            list.pop_front();
        } else {
            call.reply.bulk(list.back());
            list.pop_back();
        }
    });
}

void lrange(Call& call) {
    const std::int64_t start = parse_integer(call.arguments[2]);
    const std::int64_t stop = parse_integer(call.arguments[3]);
    const auto* list = find_as<List>(call, call.arguments[1]);
    const IndexRange range = index_range(start, stop, list == nullptr ? 0 : list->size());
    call.reply.array(range.end - range.begin);
    for (std::size_t i = range.begin; i < range.end; ++i) {
        call.reply.bulk((*list)[i]);
    }
}

void lindex(Call& call) {
    const std::int64_t index = parse_integer(call.arguments[2]);
    const auto* list = find_as<List>(call, call.arguments[1]);
    const IndexRange range = index_range(index, index, list == nullptr ? 0 : list->size());
    range.begin == range.end ? call.reply.null() : call.reply.bulk((*list)[range.begin]);
}

void ltrim(Call& call) {
    const std::int64_t start = parse_integer(call.arguments[2]);
    const std::int64_t stop = parse_integer(call.arguments[3]);
    if (auto* list = find_as<List>(call, call.arguments[1]); list != nullptr) {
        const IndexRange range = index_range(start, stop, list->size());
        list->erase(list->begin() + static_cast<std::ptrdiff_t>(range.end), list->end());
        list->erase(list->begin(), list->begin() + static_cast<std::ptrdiff_t>(range.begin));
        erase_if_empty(call, call.arguments[1], *list);
    }
    call.reply.ok();
}

// --- Sets ---------------------------------------------------------------------------------------------------------

void sadd(Call& call) {
    auto& set = make_as<Set>(call, call.arguments[1]);
    std::int64_t added = 0;
    for (const std::string_view member : call.arguments.subspan(2)) {
        added += set.emplace(member).second ? 1 : 0;
    }
    call.reply.integer(added);
}

// Removes the members that are arguments, whatever the collection: `remove` says whether it was there.
template <typename T, typename Remove>
void remove_members(Call& call, Remove remove) {
    std::int64_t removed = 0;
    if (auto* collection = find_as<T>(call, call.arguments[1]); collection != nullptr) {
        for (const std::string_view member : call.arguments.subspan(2)) {
            removed += remove(*collection, member) ? 1 : 0;
        }
        erase_if_empty(call, call.arguments[1], *collection);
    }
    call.reply.integer(removed);
}

template <typename T>
bool erase_found(T& collection, std::string_view member) {
    const auto found = collection.find(member);
    if (found == collection.end()) {
        return false;
    }
    collection.erase(found);
    return true;
}

void srem(Call& call) {
    remove_members<Set>(call, erase_found<Set>);
}

// The member that comes first in the table: as good as any, and the same wherever the same calls were made.
void spop(Call& call) {
    pop<Set>(call, [&](Set& set) {
        call.reply.bulk(*set.begin());
        set.erase(set.begin());
    });
}

void smembers(Call& call) {
    const auto* set = find_as<Set>(call, call.arguments[1]);
    call.reply.array(set == nullptr ? 0 : set->size());
    if (set != nullptr) {
        for (const std::string& member : *set) {
            call.reply.bulk(member);
        }
    }
}

void sismember(Call& call) {
    const auto* set = find_as<Set>(call, call.arguments[1]);
    call.reply.integer(set != nullptr && set->contains(call.arguments[2]) ? 1 : 0);
}

// --- Hashes -------------------------------------------------------------------------------------------------------

std::int64_t set_fields(Call& call) {
    check_pairs(call, 2);
    auto& hash = make_as<Hash>(call, call.arguments[1]);
    std::int64_t added = 0;
    for (std::size_t i = 2; i < call.arguments.size(); i += 2) {
        const auto field = hash.find(call.arguments[i]);
        if (field == hash.end()) {
            hash.emplace(call.arguments[i], call.arguments[i + 1]);
            ++added;
        } else {
            field->second = call.arguments[i + 1];
        }
    }
    return added;
}

void hset(Call& call) {
    call.reply.integer(set_fields(call));
}

void hmset(Call& call) {
    set_fields(call);
    call.reply.ok();
}

void bulk_field(Call& call, const Hash* hash, std::string_view field) {
    const auto found = hash == nullptr ? Hash::const_iterator() : hash->find(field);
    hash == nullptr || found == hash->end() ? call.reply.null() : call.reply.bulk(found->second);
}

void hget(Call& call) {
    bulk_field(call, find_as<Hash>(call, call.arguments[1]), call.arguments[2]);
}

void hmget(Call& call) {
    const auto* hash = find_as<Hash>(call, call.arguments[1]);
    call.reply.array(call.arguments.size() - 2);
    for (const std::string_view field : call.arguments.subspan(2)) {
        bulk_field(call, hash, field);
    }
}

void hdel(Call& call) {
    remove_members<Hash>(call, erase_found<Hash>);
}

void hexists(Call& call) {
    const auto* hash = find_as<Hash>(call, call.arguments[1]);
    call.reply.integer(hash != nullptr && hash->contains(call.arguments[2]) ? 1 : 0);
}

template <bool kFields, bool kValues>
void list_hash(Call& call) {
    const auto* hash = find_as<Hash>(call, call.arguments[1]);
    call.reply.array(hash == nullptr ? 0 : hash->size() * (kFields && kValues ? 2 : 1));
    if (hash == nullptr) {
        return;
    }
    for (const auto& [field, value] : *hash) {
        if constexpr (kFields) {
            call.reply.bulk(field);
        }
        if constexpr (kValues) {
            call.reply.bulk(value);
        }
    }
}

void hincrby(Call& call) {
    const std::int64_t amount = parse_integer(call.arguments[3]);
    auto& hash = make_as<Hash>(call, call.arguments[1]);
    const auto field = hash.find(call.arguments[2]);
    std::int64_t number = field == hash.end() ? 0 : parse_integer(field->second);
    if (__builtin_add_overflow(number, amount, &number)) {
        throw CommandError("ERR increment or decrement would overflow");
    }
    hash.insert_or_assign(std::string(call.arguments[2]), std::to_string(number));
    call.reply.integer(number);
}

// --- Sorted sets --------------------------------------------------------------------------------------------------

void zadd(Call& call) {
    check_pairs(call, 2);
    for (std::size_t i = 2; i < call.arguments.size(); i += 2) {
        parse_double(call.arguments[i]);  // all or nothing
    }
    auto& set = make_as<SortedSet>(call, call.arguments[1]);
    std::int64_t added = 0;
    for (std::size_t i = 2; i < call.arguments.size(); i += 2) {
        added += set.add(call.arguments[i + 1], parse_double(call.arguments[i])) ? 1 : 0;
    }
    call.reply.integer(added);
}

void zrem(Call& call) {
    remove_members<SortedSet>(call, [](SortedSet& set, std::string_view member) { return set.remove(member); });
}

void zscore(Call& call) {
    const auto* set = find_as<SortedSet>(call, call.arguments[1]);
    const auto score = set == nullptr ? std::nullopt : set->score(call.arguments[2]);
    score ? call.reply.bulk(format_double(*score)) : call.reply.null();
}

void zrange(Call& call) {
    const std::int64_t start = parse_integer(call.arguments[2]);
    const std::int64_t stop = parse_integer(call.arguments[3]);
    const bool with_scores = call.arguments.size() == 5 && upper_case(call.arguments[4]) == "WITHSCORES";
    if (call.arguments.size() > 4 && !with_scores) {
        throw_syntax_error();
    }
    const auto* set = find_as<SortedSet>(call, call.arguments[1]);
    const IndexRange range = index_range(start, stop, set == nullptr ? 0 : set->size());
    call.reply.array((range.end - range.begin) * (with_scores ? 2 : 1));
    if (range.begin == range.end) {
        return;
    }
    auto element = std::next(set->order().begin(), static_cast<std::ptrdiff_t>(range.begin));
    for (std::size_t i = range.begin; i < range.end; ++i, ++element) {
        call.reply.bulk(element->second);
        if (with_scores) {
            call.reply.bulk(format_double(element->first));
        }
    }
}

template <bool kLeast>
void zpop(Call& call) {
    const auto count = parse_count(call);
    auto* set = find_as<SortedSet>(call, call.arguments[1]);
    const std::size_t taken = set == nullptr ? 0 : std::min(count.value_or(1), set->size());
    call.reply.array(taken * 2);
    for (std::size_t i = 0; i < taken; ++i) {
        const auto element = kLeast ? set->order().begin() : std::prev(set->order().end());
        const std::string member = element->second;
        call.reply.bulk(member);
        call.reply.bulk(format_double(element->first));
        set->remove(member);
    }
    if (set != nullptr) {
        erase_if_empty(call, call.arguments[1], *set);
    }
}

constexpr std::array kListCommands{
    Command{"LPUSH", -3, Effect::kGrows, push<true>, 1, 1, 1},
    Command{"RPUSH", -3, Effect::kGrows, push<false>, 1, 1, 1},
    Command{"LPOP", -2, Effect::kWrites, pop_list<true>, 1, 1, 1},
    Command{"RPOP", -2, Effect::kWrites, pop_list<false>, 1, 1, 1},
    Command{"LLEN", 2, Effect::kReads, reply_size<List>, 1, 1, 1},
    Command{"LRANGE", 4, Effect::kReads, lrange, 1, 1, 1},
    Command{"LINDEX", 3, Effect::kReads, lindex, 1, 1, 1},
    Command{"LTRIM", 4, Effect::kWrites, ltrim, 1, 1, 1},
};

constexpr std::array kSetCommands{
    Command{"SADD", -3, Effect::kGrows, sadd, 1, 1, 1},
    Command{"SREM", -3, Effect::kWrites, srem, 1, 1, 1},
    Command{"SPOP", -2, Effect::kWrites, spop, 1, 1, 1},
    Command{"SMEMBERS", 2, Effect::kReads, smembers, 1, 1, 1},
    Command{"SISMEMBER", 3, Effect::kReads, sismember, 1, 1, 1},
    Command{"SCARD", 2, Effect::kReads, reply_size<Set>, 1, 1, 1},
};

constexpr std::array kHashCommands{
    Command{"HSET", -4, Effect::kGrows, hset, 1, 1, 1},
    Command{"HMSET", -4, Effect::kGrows, hmset, 1, 1, 1},
    Command{"HGET", 3, Effect::kReads, hget, 1, 1, 1},
    Command{"HMGET", -3, Effect::kReads, hmget, 1, 1, 1},
    Command{"HGETALL", 2, Effect::kReads, list_hash<true, true>, 1, 1, 1},
    Command{"HKEYS", 2, Effect::kReads, list_hash<true, false>, 1, 1, 1},
    Command{"HVALS", 2, Effect::kReads, list_hash<false, true>, 1, 1, 1},
    Command{"HDEL", -3, Effect::kWrites, hdel, 1, 1, 1},
    Command{"HLEN", 2, Effect::kReads, reply_size<Hash>, 1, 1, 1},
    Command{"HEXISTS", 3, Effect::kReads, hexists, 1, 1, 1},
    Command{"HINCRBY", 4, Effect::kGrows, hincrby, 1, 1, 1},
};

constexpr std::array kSortedSetCommands{
    Command{"ZADD", -4, Effect::kGrows, zadd, 1, 1, 1},
    Command{"ZREM", -3, Effect::kWrites, zrem, 1, 1, 1},
    Command{"ZSCORE", 3, Effect::kReads, zscore, 1, 1, 1},
    Command{"ZCARD", 2, Effect::kReads, reply_size<SortedSet>, 1, 1, 1},
    Command{"ZRANGE", -4, Effect::kReads, zrange, 1, 1, 1},
    Command{"ZPOPMIN", -2, Effect::kWrites, zpop<true>, 1, 1, 1},
    Command{"ZPOPMAX", -2, Effect::kWrites, zpop<false>, 1, 1, 1},
};

}  // namespace

std::span<const Command> list_commands() {
    return kListCommands;
}
std::span<const Command> set_commands() {
    return kSetCommands;
}
std::span<const Command> hash_commands() {
    return kHashCommands;
}
std::span<const Command> sorted_set_commands() {
    return kSortedSetCommands;
}

}  // namespace understudy::kv
