// The keys, their values of five types, and their expiry. Everything here follows from the calls made: iteration orders
// too, as the hash has no seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>

#include "guest/programs/net/event_loop.hpp"

namespace understudy::kv {

using programs::kNever;
using programs::Time;

// Lets strings be found by a view of them.
struct StringHash {
    using is_transparent = void;  // NOLINT(readability-identifier-naming)
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

using List = std::deque<std::string>;
using Set = std::unordered_set<std::string, StringHash, std::equal_to<>>;
using Hash = std::unordered_map<std::string, std::string, StringHash, std::equal_to<>>;

// Members by score, and by name among equal scores.
class SortedSet {
  public:
    using Order = std::set<std::pair<double, std::string>>;

    // True: the member is new.
    bool add(std::string_view member, double score);
    bool remove(std::string_view member);
    [[nodiscard]] std::optional<double> score(std::string_view member) const;
    [[nodiscard]] const Order& order() const { return order_; }
    [[nodiscard]] std::size_t size() const { return order_.size(); }
    [[nodiscard]] bool empty() const { return order_.empty(); }

  private:
    std::unordered_map<std::string, double, StringHash, std::equal_to<>> scores_;
    Order order_;
};

using Value = std::variant<std::string, List, Set, Hash, SortedSet>;

class Store {
  public:
    // The time that all calls until the next advance() see. Drops keys that have expired, at most a bounded number at
    // a time; those that remain are as good as absent.
    void advance(Time now);
    [[nodiscard]] Time now() const { return now_; }
    // When advance() next has something to drop.
    [[nodiscard]] Time next_expiry() const { return expiries_.empty() ? kNever : expiries_.begin()->first; }

    // nullptr: no such key.
    Value* find(std::string_view key);
    // Gives the key a value, new or in place of the old one; the expiry is kept.
    Value& assign(std::string_view key, Value value);
    bool erase(std::string_view key);
    void clear();
    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    [[nodiscard]] std::size_t expiring() const { return expiries_.size(); }
    void for_each(const std::function<void(std::string_view key)>& visit) const;

    // Of keys that exist.
    [[nodiscard]] Time expiry(std::string_view key) const;
    void set_expiry(std::string_view key, Time when);  // kNever: none

  private:
    struct Entry {
        Value value;
        Time expiry = kNever;
    };
    using Entries = std::unordered_map<std::string, Entry, StringHash, std::equal_to<>>;

    void erase(Entries::iterator entry);
    void set_expiry(Entries::iterator entry, Time when);

    Time now_{};
    Entries entries_;
    std::set<std::pair<Time, std::string_view>> expiries_;  // the views are of the keys in entries_
};

}  // namespace understudy::kv
