#include "arbiter/raft/log.hpp"

#include <algorithm>

namespace understudy::raft {

Log::Log(Index base_index, Term base_term, std::vector<Entry> entries)
    : base_index_(base_index), base_term_(base_term), entries_(std::move(entries)) {
    Index expected = base_index_;
    Term term = base_term_;
    for (const auto& entry : entries_) {
        require(entry.index == ++expected && entry.term >= term, "a log is contiguous and its terms never decrease");
        term = entry.term;
    }
}

std::optional<Term> Log::term_at(Index index) const {
    if (index == base_index_) {
        return base_term_;
    }
    if (index < base_index_ || index > last_index()) {
        return std::nullopt;
    }
    return entries_[index - base_index_ - 1].term;
}

Index Log::first_of_term(Index index) const {
    const auto term = term_at(index);
    require(term.has_value(), "first_of_term is asked of an entry in the log");
    const auto it = std::lower_bound(entries_.begin(), entries_.end(), *term,
                                     [](const Entry& entry, Term wanted) { return entry.term < wanted; });
    return it == entries_.end() ? index : std::min(it->index, index);
}

std::optional<Index> Log::last_of_term(Term term) const {
    const auto it = std::upper_bound(entries_.begin(), entries_.end(), term,
                                     [](Term wanted, const Entry& entry) { return wanted < entry.term; });
    if (it != entries_.begin() && std::prev(it)->term == term) {
        return std::prev(it)->index;
    }
    if (base_term_ == term && it == entries_.begin()) {
        return base_index_;
    }
    return std::nullopt;
}

std::span<const Entry> Log::range(Index first, Index last) const {
    first = std::max(first, base_index_ + 1);
    last = std::min(last, last_index());
    if (first > last) {
        return {};
    }
    return std::span(entries_).subspan(first - base_index_ - 1, last - first + 1);
}

void Log::append(Entry entry) {
    require(entry.index == last_index() + 1, "entries are appended in order");
    require(entry.term >= last_term(), "terms never decrease along the log");
    entries_.push_back(std::move(entry));
}

void Log::truncate_from(Index index) {
    require(index > base_index_, "what a snapshot covers is never truncated");
    if (index <= last_index()) {
        entries_.resize(index - base_index_ - 1);
    }
}

void Log::compact_to(Index index) {
    const auto term = term_at(index);
    require(term.has_value(), "the log is compacted up to an entry that it has");
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(index - base_index_));
    base_index_ = index;
    base_term_ = *term;
}

void Log::reset(Index base_index, Term base_term) {
    entries_.clear();
    base_index_ = base_index;
    base_term_ = base_term;
}

}  // namespace understudy::raft
