#include "hypervisor/replication/loop/vcpu_thread.hpp"

#include <pthread.h>

#include <ctime>
#include <utility>

namespace understudy::replication {

VcpuThread::VcpuThread(std::unique_ptr<machine::Machine> machine, RecorderConfig recorder, Handlers handlers)
    : machine_(std::move(machine)), recorder_config_(recorder), handlers_(std::move(handlers)) {}

VcpuThread::~VcpuThread() {
    end();
}

void VcpuThread::record(Sink& sink) {
    recorder_ = std::make_unique<Recorder>(input_, recorder_config_, GuestTime{0});
    live_recorder_ = recorder_.get();
    start({recorder_.get(), &sink});
}

void VcpuThread::follow(RecordFeed& feed, Sink& sink) {
    replayer_ = std::make_unique<Replayer>(feed);
    start({replayer_.get(), &sink});
}

void VcpuThread::start(Voice voice) {
    thread_ = std::thread([this, voice] {
        try {
            if (handlers_.begun) {
                handlers_.begun();
            }
            result_ = run_loop(*machine_, voice, [this] { return next_voice(); });
        } catch (...) {
            failure_ = std::current_exception();
        }
        handlers_.ended();
    });
}

// On the vCPU's thread, when a source has ended: a recorder takes the replayer's place if this guest goes live. It is
// made here, where the guest's clock stands still.
Voice VcpuThread::next_voice() {
    if (!replayer_ || recorder_) {
        return {};
    }
    recorder_ = std::make_unique<Recorder>(input_, recorder_config_, machine_->clock());
    handlers_.log_drained();
    return next_voice_.get_future().get();
}

void VcpuThread::go_live(Sink& sink) {
    voice_promised_ = true;
    live_recorder_ = recorder_.get();
    next_voice_.set_value({recorder_.get(), &sink});
}

void VcpuThread::end() {
    if (!thread_.joinable()) {
        return;
    }
    machine_->abandon();
    input_.poke();
    if (!std::exchange(voice_promised_, true)) {
        next_voice_.set_value({});
    }
    thread_.join();
}

void VcpuThread::kick_if_running() {
    if (const Recorder* recorder = live_recorder_; recorder != nullptr && recorder->guest_runs()) {
        machine_->kick(machine::Kick::at_next_count);
    }
}

void VcpuThread::kick_if_overdue() {
    Recorder* recorder = live_recorder_;
    if (const auto how = recorder != nullptr ? recorder->overdue() : std::nullopt) {
        machine_->kick(*how);
    }
}

std::chrono::nanoseconds VcpuThread::processor_time() {
    clockid_t clock = 0;
    timespec had{};
    if (!thread_.joinable() || ::pthread_getcpuclockid(thread_.native_handle(), &clock) != 0 ||
        ::clock_gettime(clock, &had) != 0) {
        return {};
    }
    return std::chrono::seconds(had.tv_sec) + std::chrono::nanoseconds(had.tv_nsec);
}

void VcpuThread::stop_soon() {
    input_.poke();
    machine_->kick(machine::Kick::at_next_count);
}

}  // namespace understudy::replication
