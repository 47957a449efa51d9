// The thread that runs a guest: the one loop on one machine, and everything that reaches it from outside. What may be
// called from where is said at each member; the I/O thread is whichever one thread owns this object.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <thread>

#include "hypervisor/machine/machine.hpp"
#include "hypervisor/replication/loop/input_queue.hpp"
#include "hypervisor/replication/loop/loop.hpp"
#include "hypervisor/replication/loop/recorder.hpp"
#include "hypervisor/replication/loop/replayer.hpp"

namespace understudy::replication {

class VcpuThread {
  public:
    // All are called on the vCPU's thread, which waits for them to return: they hand over to another.
    struct Handlers {
        // The thread's first act; may be empty.
        std::function<void()> begun;
        // A guest that follows has replayed its log to the end. It waits for go_live() or for its end.
        std::function<void()> log_drained;
        // The loop has ended; result() and failure() say how. The last call.
        std::function<void()> ended;
    };

    VcpuThread(std::unique_ptr<machine::Machine> machine, RecorderConfig recorder, Handlers handlers);
    ~VcpuThread();  // end()s
    VcpuThread(const VcpuThread&) = delete;
    VcpuThread& operator=(const VcpuThread&) = delete;

    // --- Its life, from the I/O thread. One of record() and follow(), once. Feed and sinks are there
    // until end().
    // The guest lives, from its first instruction on.
    void record(Sink& sink);
    // The guest follows `feed`.
    void follow(RecordFeed& feed, Sink& sink);
    // The guest whose log is drained lives from here on.
    void go_live(Sink& sink);
    // Ends the loop at the guest's next instruction and joins the thread. Whoever can hold the thread (a sink, a feed)
    // has to let it go first. No effect where no thread runs.
    void end();

    // --- What reaches a guest that lives, from the I/O thread. Without effect on one that follows.
    // Frames on their way to the guest.
    [[nodiscard]] InputQueue& input() { return input_; }
    // Something waits in input(): a guest that runs looks at once instead of at its next stop.
    void kick_if_running();
    // To be called every Recorder::kOverdueInterval: a guest that has not stopped for long is made to.
    void kick_if_overdue();
    // The guest, running or idle, comes to a stop; where it counts nothing, by kick_if_overdue().
    void stop_soon();

    // What the thread has had of a processor; zero where none runs. From the I/O thread.
    [[nodiscard]] std::chrono::nanoseconds processor_time();

    // The machine is the vCPU's from record() or follow() on until the loop has ended.
    [[nodiscard]] machine::Machine& machine() { return *machine_; }
    // Stops that were replayed and found equal; once the loop has ended.
    [[nodiscard]] std::uint64_t compared() const { return replayer_ ? replayer_->compared() : 0; }
    [[nodiscard]] bool followed() const { return replayer_ != nullptr; }

    // Once the loop has ended, in the order of its end: what it threw, or null; how it ended.
    [[nodiscard]] std::exception_ptr failure() const { return failure_; }
    [[nodiscard]] const LoopResult& result() const { return result_; }

  private:
    void start(Voice voice);
    Voice next_voice();

    std::unique_ptr<machine::Machine> machine_;
    const RecorderConfig recorder_config_;
    const Handlers handlers_;
    InputQueue input_;
    std::unique_ptr<Recorder> recorder_;
    std::unique_ptr<Replayer> replayer_;
    std::atomic<Recorder*> live_recorder_{nullptr};  // for kicks
    std::promise<Voice> next_voice_;
    bool voice_promised_ = false;
    std::thread thread_;
    LoopResult result_;
    std::exception_ptr failure_;
};

}  // namespace understudy::replication
