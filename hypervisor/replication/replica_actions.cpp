#include <boost/asio/post.hpp>

#include "hypervisor/replication/replica_driver.hpp"

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;

constexpr auto kArbiterTimeout = 1000ms;
constexpr auto kLastWords = 100ms;  // for what is still queued when a replica ends

}  // namespace

void ReplicaDriver::perform(const action::Form& a) {
    arbiter_->form(a.request, kArbiterTimeout, answer_for(a.ticket));
}

void ReplicaDriver::perform(const action::TestAndSet& a) {
    arbiter_->test_and_set(a.request, kArbiterTimeout, answer_for(a.ticket));
}

void ReplicaDriver::perform(const action::StartGuest& /*a*/) {
    recorder_ = std::make_unique<Recorder>(queue_, config_.recorder, GuestTime{0});
    running_recorder_ = recorder_.get();
    start_vcpu({recorder_.get(), &live_sink_});
}

void ReplicaDriver::perform(const action::StartTransfer& a) {
    peer_ = std::move(candidates_.at(a.peer));
    candidates_.erase(a.peer);
    peer_->welcome({config_.id, a.generation, machine_->memory().size(), {}});
    attend_backup();
    wants_snapshot_ = true;
    live_sink_.request_snapshot();
    queue_.poke();
    machine_->kick();
}

void ReplicaDriver::perform(const action::RefusePeer& a) {
    if (const auto found = candidates_.find(a.peer); found != candidates_.end()) {
        found->second->refuse(a.why);
        candidates_.erase(found);
    }
}

void ReplicaDriver::perform(const action::CloseGate& a) {
    const StopNumber last = gate_.close();
    boost::asio::post(io_, [this, peer = a.peer, last] { feed(event::GateClosed{peer, last}); });
}

void ReplicaDriver::perform(const action::OpenGate& /*a*/) {
    release(gate_.open());
    update_brake();
}

void ReplicaDriver::perform(const action::TellFormed& /*a*/) {
    peer_->send_formed();
}

void ReplicaDriver::perform(const action::StopAcknowledging& /*a*/) {
    if (peer_) {
        peer_->stop_acknowledging();
    }
}

void ReplicaDriver::perform(const action::DropPeer& /*a*/) {
    if (peer_) {
        peer_->close();
        retired_ = std::move(peer_);
    }
    suspicion_.reset();
    window_.reset();
    wants_snapshot_ = false;
    update_brake();
}

void ReplicaDriver::perform(const action::GoLive& /*a*/) {
    feed_.close();
    if (!vcpu_running_) {  // the guest has ended already: nothing will ask for a successor
        boost::asio::post(io_, [this] { feed(event::LogDrained{}); });
    }
}

// Going live ends here: the role machine lets this replica speak, and says again what may not have been heard.
void ReplicaDriver::perform(const action::Speak& a) {
    live_->speak(a.rank);
    if (replayer_ && !succeeded_) {
        succeeded_ = true;
        release(retention_.go_live());
        if (vcpu_running_) {
            running_recorder_ = recorder_.get();
            successor_.set_value({recorder_.get(), &live_sink_});
        }
        if (config_.observer.on_live) {
            config_.observer.on_live(a.rank.generation, Clock::now() - lost_at_);
        }
    }
}

void ReplicaDriver::perform(const action::Terminate& a) {
    result_ = ReplicaResult{a.reason, a.explanation, false, 0, {}};
    reason_ = a.explanation;
    if (peer_ && a.reason == action::Terminate::Reason::guest_ended) {
        peer_->send_goodbye(a.explanation);  // a backup takes it for the guest's end, and nothing else
        peer_->finish();
    } else if (peer_) {
        peer_->close();
    }
    last_words_.expires_after(kLastWords);
    last_words_.async_wait([this](const boost::system::error_code& /*error*/) { io_.stop(); });
}

}  // namespace understudy::replication
