#include "hypervisor/replication/replica/replica_driver.hpp"

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;

constexpr auto kArbiterTimeout = 1000ms;
constexpr auto kLastWords = 100ms;  // for what is still queued when a replica ends

}  // namespace

void ReplicaDriver::ask(std::uint64_t ticket, const arbiter::FormRequest& request) {
    arbiter_->form(request, kArbiterTimeout, answer_for(ticket));
}

void ReplicaDriver::ask(std::uint64_t ticket, const arbiter::TestAndSetRequest& request) {
    arbiter_->test_and_set(request, kArbiterTimeout, answer_for(ticket));
}

arbiter::Client::Callback ReplicaDriver::answer_for(std::uint64_t ticket) {
    return [this, ticket](arbiter::Outcome outcome) { core_.arbiter_answered(ticket, std::move(outcome)); };
}

void ReplicaDriver::go_live() {
    vcpu_.go_live(live_sink_);
    if (config_.observer.on_live) {
        config_.observer.on_live(core_.roles().generation(), Clock::now() - lost_at_);
    }
}

void ReplicaDriver::hold_guest(bool held) {
    brake_.set(held);
    if (held) {
        held_since_ = Clock::now();
    } else if (held_since_) {
        log_figures_.guest_waited += Clock::now() - *std::exchange(held_since_, std::nullopt);
    }
}

void ReplicaDriver::release(const std::vector<Output>& outputs) {
    live_->release(outputs);
    if (std::exchange(first_words_due_, false) && config_.observer.on_first_words) {
        config_.observer.on_first_words(core_.roles().generation(), Clock::now() - lost_at_);
    }
}

void ReplicaDriver::begin_transfer(const ReplicaId& candidate, Generation generation) {
    peer_ = std::move(candidates_.at(candidate));
    candidates_.erase(candidate);
    peer_->welcome({config_.id, generation, vcpu_.machine().shape()});
    attend_backup();
    transfer_ = std::make_shared<Transfer>(Transfer{Clock::now(), {}});
    try {
        transfer_number_ =
            live_sink_.begin_transfer(memory::prepare_snapshot(vcpu_.machine().memory(), config_.snapshot));
    } catch (const Error& error) {
        core_.peer_lost(error.what());
    }
}

void ReplicaDriver::refuse(const ReplicaId& candidate, const std::string& why) {
    if (const auto found = candidates_.find(candidate); found != candidates_.end()) {
        found->second->refuse(why,
                              core_.roles().is_settling() ? channel::Refusal::for_now : channel::Refusal::for_good);
        candidates_.erase(found);
    }
}

void ReplicaDriver::drop_peer() {
    if (peer_) {
        peer_->close();
        retired_ = std::move(peer_);
    }
    live_sink_.end_transfer();
}

void ReplicaDriver::show_role(Role role, Generation generation, const std::string& reason) {
    if (role == Role::deciding) {
        lost_at_ = Clock::now();
        first_words_due_ = core_.follows();
    }
    if (role == Role::following) {
        // What will be asked when the primary is lost finds its way to the arbiter's leader: no handshake then.
        arbiter_->read(vm_, kArbiterTimeout, [](const arbiter::Outcome& /*known*/) {});
    }
    if (config_.observer.on_role) {
        config_.observer.on_role(role, generation, reason);
    }
}

void ReplicaDriver::terminate(const action::Terminate& end) {
    const bool guest_ended = end.reason == action::Terminate::Reason::guest_ended;
    const GuestEnd how = guest_ended ? guest_end_ : GuestEnd{};
    result_ = ReplicaResult{end.reason, end.explanation, false, how.exit_status, how.fault_report};
    brake_.set(false);
    if (peer_ && guest_ended) {
        // A backup takes it for the guest's end, and nothing else.
        peer_->send_goodbye({end.explanation, how.exit_status, how.fault_report});
        peer_->finish();
    } else if (peer_) {
        peer_->close();
    }
    if (guest_ended && !core_.follows() && core_.roles().generation().value > 0) {
        tell_end();
    }
    stop_after(kLastWords);
}

// Whoever claims the VM next need not ask whether it still runs. The peer has been told, or will not win any more.
void ReplicaDriver::tell_end() {
    const Generation generation = core_.roles().generation();
    telling_end_ = true;
    arbiter_->end({vm_, generation, config_.id}, kArbiterTimeout, [this](const arbiter::Outcome& outcome) {
        telling_end_ = false;
        if (outcome.verdict != arbiter::Verdict::yes && config_.observer.on_warning) {
            config_.observer.on_warning(fmt::format(
                "the arbiter was not told that the guest has ended, and keeps its name ({}); see `understudy arbiter "
                "forget --help`",
                outcome.explanation));
        }
    });
}

void ReplicaDriver::stop_after(std::chrono::nanoseconds time) {
    last_words_.expires_after(time);
    last_words_.async_wait([this](const boost::system::error_code& /*error*/) {
        if (telling_end_) {
            stop_after(kLastWords);
        } else {
            io_.stop();
        }
    });
}

}  // namespace understudy::replication
