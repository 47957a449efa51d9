#include "guest/programs/kv/store.hpp"

namespace understudy::kv {

bool SortedSet::add(std::string_view member, double score) {
    const auto known = scores_.find(member);
    if (known == scores_.end()) {
        scores_.emplace(member, score);
        order_.emplace(score, member);
        return true;
    }
    if (known->second != score) {
        order_.erase({known->second, known->first});
        order_.emplace(score, member);
        known->second = score;
    }
    return false;
}

bool SortedSet::remove(std::string_view member) {
    const auto known = scores_.find(member);
    if (known == scores_.end()) {
        return false;
    }
    order_.erase({known->second, known->first});
    scores_.erase(known);
    return true;
}

std::optional<double> SortedSet::score(std::string_view member) const {
    const auto known = scores_.find(member);
    return known == scores_.end() ? std::nullopt : std::optional(known->second);
}

void Store::advance(Time now) {
    constexpr int kAtOnce = 1000;  // a mass of keys that expire together must not hold up the clients
    now_ = now;
    for (int i = 0; i < kAtOnce && next_expiry() <= now_; ++i) {
        erase(entries_.find(expiries_.begin()->second));
    }
}

Value* Store::find(std::string_view key) {
    const auto entry = entries_.find(key);
    if (entry == entries_.end()) {
        return nullptr;
    }
    if (entry->second.expiry <= now_) {
        erase(entry);
        return nullptr;
    }
    return &entry->second.value;
}

Value& Store::assign(std::string_view key, Value value) {
    auto entry = entries_.find(key);
    if (entry == entries_.end()) {
        entry = entries_.emplace(key, Entry{}).first;
    } else if (entry->second.expiry <= now_) {
        set_expiry(entry, kNever);
    }
    entry->second.value = std::move(value);
    return entry->second.value;
}

bool Store::erase(std::string_view key) {
    if (find(key) == nullptr) {
        return false;
    }
    erase(entries_.find(key));
    return true;
}

void Store::erase(Entries::iterator entry) {
    set_expiry(entry, kNever);
    entries_.erase(entry);
}

void Store::clear() {
    expiries_.clear();
    entries_.clear();
}

void Store::for_each(const std::function<void(std::string_view key)>& visit) const {
    for (const auto& [key, entry] : entries_) {
        if (entry.expiry > now_) {
            visit(key);
        }
    }
}

Time Store::expiry(std::string_view key) const {
    const auto entry = entries_.find(key);
    return entry == entries_.end() ? kNever : entry->second.expiry;
}

void Store::set_expiry(std::string_view key, Time when) {
    if (const auto entry = entries_.find(key); entry != entries_.end()) {
        set_expiry(entry, when);
    }
}

void Store::set_expiry(Entries::iterator entry, Time when) {
    if (entry->second.expiry != kNever) {
        expiries_.erase({entry->second.expiry, entry->first});
    }
    entry->second.expiry = when;
    if (when != kNever) {
        expiries_.emplace(when, entry->first);
    }
}

}  // namespace understudy::kv
