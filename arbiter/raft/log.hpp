// The log in memory: the entries behind a base that a snapshot stands for (paper §5.3, §7).
#pragma once

#include <span>

#include "arbiter/raft/types.hpp"

namespace understudy::raft {

class Log {
  public:
    Log() = default;
    // The entries must follow on `base_index` without a gap.
    Log(Index base_index, Term base_term, std::vector<Entry> entries);

    [[nodiscard]] Index base_index() const { return base_index_; }
    [[nodiscard]] Index last_index() const { return base_index_ + entries_.size(); }
    [[nodiscard]] Term last_term() const { return entries_.empty() ? base_term_ : entries_.back().term; }
    // nullopt: compacted away, or not there yet.
    [[nodiscard]] std::optional<Term> term_at(Index index) const;
    // The first index of the run of entries that has the term of `index`, as far as the log reaches back.
    [[nodiscard]] Index first_of_term(Index index) const;
    // The last index whose term is `term`, if there is one (terms never decrease along the log).
    [[nodiscard]] std::optional<Index> last_of_term(Term term) const;
    // [first, last], clipped to what is there. Valid until the log changes.
    [[nodiscard]] std::span<const Entry> range(Index first, Index last) const;

    void append(Entry entry);
    void truncate_from(Index index);
    // Forgets entries up to `index`, which must be present.
    void compact_to(Index index);
    void reset(Index base_index, Term base_term);

  private:
    Index base_index_ = 0;
    Term base_term_ = 0;
    std::vector<Entry> entries_;
};

}  // namespace understudy::raft
