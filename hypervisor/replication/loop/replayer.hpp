// The source and sink of a guest that follows a log: feeds what the log says, compares what the guest does.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hypervisor/replication/loop/source_sink.hpp"

namespace understudy::replication {

// The log as the replayer reads it, one entry after the other, marks included.
class RecordFeed {
  public:
    virtual ~RecordFeed() = default;
    // Waits for the next entry. Nothing: the log has ended, for good.
    virtual std::optional<Record> next() = 0;
};

// Thrown at the first record that does not agree with the guest. what() names the record and what differs.
class Divergence : public Error {
  public:
    using Error::Error;
};

class Replayer : public Source, public Sink {
  public:
    explicit Replayer(RecordFeed& feed) : feed_(feed) {}

    std::optional<Advance> advance(const machine::Machine& machine) override;
    std::optional<PageRange> memory_to_compare(const machine::Machine& machine) override;
    bool must_wait(const Stop& /*stop*/, machine::Machine& /*machine*/) override { return false; }
    std::optional<Input> input(const Record& reached, machine::Machine& machine) override;

    void mark(const Record& /*mark*/, std::vector<Output> /*outputs*/) override {}
    void accept(const Record& /*record*/, std::vector<Output> /*outputs*/) override {}
    void settled(machine::Machine& /*machine*/) override {}

    // Stops compared so far, all of them equal.
    [[nodiscard]] std::uint64_t compared() const { return compared_; }

  private:
    RecordFeed& feed_;
    std::optional<Record> expected_;
    std::uint64_t compared_ = 0;
};

// What differs between a log's record and the guest's stop, in words; empty: nothing.
[[nodiscard]] std::string difference(const Record& expected, const Record& reached);

}  // namespace understudy::replication
