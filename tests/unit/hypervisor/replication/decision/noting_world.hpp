// A replica's core against a world that only notes what it is told.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hypervisor/replication/decision/replica_core.hpp"

namespace understudy::replication::testing {

using std::chrono::milliseconds;

// Notes everything as a line; questions to the arbiter with their ticket.
class NotingWorld final : public ReplicaWorld {
  public:
    virtual ~NotingWorld() = default;

    [[nodiscard]] std::chrono::nanoseconds now() const override { return time; }
    void ask(std::uint64_t ticket, const arbiter::FormRequest& request) override {
        last_ticket = ticket;
        note("form {}", request.next.value);
    }
    void ask(std::uint64_t ticket, const arbiter::TestAndSetRequest& request) override {
        last_ticket = ticket;
        note("test and set {}", request.generation.value);
    }
    void start_guest() override { note("start"); }
    void end_log() override { note("end log"); }
    void go_live() override { note("live"); }
    void hold_guest(bool held) override { note("hold {}", held); }
    void stop_guest_soon() override { note("stop soon"); }
    void speak(SpeakerRank rank) override { note("speak {}", rank.generation.value); }
    void release(const std::vector<Output>& outputs) override {
        for (const Output& output : outputs) {
            note("say {}", static_cast<int>(output.bytes.front()));
        }
    }
    [[nodiscard]] Passage passage() const override { return network; }
    void begin_transfer(const ReplicaId& candidate, Generation /*generation*/) override {
        note("welcome {}", candidate);
    }
    void refuse(const ReplicaId& candidate, const std::string& /*why*/) override { note("refuse {}", candidate); }
    Bytes send_record(const Record& record) override {
        note("send {}", record.stop.number.value);
        return {100};
    }
    void report_released(StopNumber released) override { reported_released = released; }
    void tell_formed() override { note("formed"); }
    void report_progress(StopNumber received, StopNumber /*replayed*/) override { reported_received = received; }
    void stop_acknowledging() override { note("stop acknowledging"); }
    void flush() override { note("flush"); }
    [[nodiscard]] Bytes bytes_sent() const override { return sent; }
    void drop_peer() override { note("drop"); }
    void show_role(Role /*role*/, Generation /*generation*/, const std::string& /*reason*/) override {}
    void terminate(const action::Terminate& end) override { note("end: {}", end.explanation); }

    std::vector<std::string> take() { return std::exchange(notes, {}); }

    std::chrono::nanoseconds time{0};
    std::uint64_t last_ticket = 0;
    Bytes sent;
    Passage network;
    StopNumber reported_released;
    StopNumber reported_received;
    std::vector<std::string> notes;

  private:
    template <typename... Args>
    void note(fmt::format_string<Args...> text, Args&&... args) {
        notes.push_back(fmt::format(text, std::forward<Args>(args)...));
    }
};

inline std::vector<Output> said_at(std::uint64_t stop) {
    return {{Output::Kind::frame, {static_cast<std::byte>(stop)}}};
}

inline Record record_of(std::uint64_t stop, bool speaks, bool mark = false) {
    Record record;
    record.stop.number = {stop};
    record.input.clock = milliseconds(stop);
    record.mark = mark;
    if (speaks) {
        record.digests.outputs = 4711;
    }
    return record;
}

inline arbiter::Outcome answer(arbiter::Verdict verdict) {
    return {verdict, std::nullopt, ""};
}

class CoreTest : public ::testing::Test {
  protected:
    // A backup of stop 10's state, of a formed pair.
    ReplicaCore& follow() {
        core_.emplace(world_, RoleMachine::join({"vm", "B"}, "P", {2}));
        core_->start();
        core_->state_received({10}, milliseconds(10));
        core_->pair_formed();
        world_.take();
        return *core_;
    }
    // A primary whose backup has the state of stop 10.
    ReplicaCore& lead() {
        core_.emplace(world_, RoleMachine::claim({"vm", "P"}));
        core_->start();
        core_->arbiter_answered(world_.last_ticket, answer(arbiter::Verdict::yes));
        core_->recorded(record_of(10, false), {}, false);
        core_->candidate_connected("B");
        EXPECT_TRUE(core_->snapshot_taken({10}));
        core_->peer_ready();
        core_->peer_reported({10}, {10});
        core_->arbiter_answered(world_.last_ticket, answer(arbiter::Verdict::yes));
        EXPECT_EQ(core_->roles().role(), Role::leading);
        world_.take();
        return *core_;
    }
    void receive(const Record& record) {
        ASSERT_TRUE(core_->record_received(record, {100}));
        core_->records_received();
    }

    NotingWorld world_;
    std::optional<ReplicaCore> core_;
};

}  // namespace understudy::replication::testing
