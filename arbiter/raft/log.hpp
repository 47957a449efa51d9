// The log in memory: the entries after a base, up to which a snapshot stands in for them (paper §5.3, §7). Not
// thread-safe; a broken rule aborts.
#pragma once

#include <span>

#include "arbiter/raft/types.hpp"

namespace understudy::raft {

class Log {
  public:
    Log() = default;
    // The entries follow on `base_index` without a gap, and their terms never decrease.
    Log(Index base_index, Term base_term, std::vector<Entry> entries);

    [[nodiscard]] Index base_index() const { return base_index_; }
    [[nodiscard]] Index last_index() const { return base_index_ + entries_.size(); }
    [[nodiscard]] Term last_term() const { return entries_.empty() ? base_term_ : entries_.back().term; }
    // nullopt: the entry is not there any more, or not yet.
    [[nodiscard]] std::optional<Term> term_at(Index index) const;
    // The index of the first entry, as far as the log reaches back, with the same term as the entry at `index`.
    [[nodiscard]] Index first_of_term(Index index) const;
    // The index of the last entry with this term, if there is one.
    [[nodiscard]] std::optional<Index> last_of_term(Term term) const;
    // The entries from `first` to `last`, as far as they are there. Valid until the log changes.
    [[nodiscard]] std::span<const Entry> range(Index first, Index last) const;

    // The entry must be the next one.
    void append(Entry entry);
    // Removes the entry at `index`, which must be after the base, and all that follow.
    void truncate_from(Index index);
    // Makes the entry at `index`, which must be there, the base: it and all before it are forgotten.
    void compact_to(Index index);
    // Empty, with this base.
    void reset(Index base_index, Term base_term);

  private:
    Index base_index_ = 0;
    Term base_term_ = 0;
    std::vector<Entry> entries_;
};

}  // namespace understudy::raft
