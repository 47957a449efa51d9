// A guest that is checkpointed, as Remus does it (Cully et al., NSDI 2008): every so often it stands still while what
// it wrote is copied, then goes on; what it said since leaves when the copy has arrived elsewhere. No record leaves.
//
// For measuring what record and replay are compared with.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "hypervisor/replication/loop/checkpoint_stream.hpp"
#include "hypervisor/replication/loop/source_sink.hpp"

namespace understudy::replication {

class CheckpointSink final : public Sink, private machine::WrittenPages {
  public:
    // Called on a thread of the sink's own: outputs that may leave now.
    using Release = std::function<void(std::vector<Output>)>;

    CheckpointSink(FileDescriptor connection, Bytes memory, Release release);
    ~CheckpointSink() override;
    CheckpointSink(const CheckpointSink&) = delete;
    CheckpointSink& operator=(const CheckpointSink&) = delete;

    // From any thread: the guest's next stop is a checkpoint.
    void checkpoint_soon() { due_ = true; }
    // From any thread: whoever waits here goes on, and nothing is kept any more.
    void end();

    void mark(const Record& mark, std::vector<Output> outputs) override;
    void accept(const Record& record, std::vector<Output> outputs) override;
    // Throws understudy::Error when the keeper is gone.
    void settled(machine::Machine& machine) override;

    // Once the vCPU's thread and end() are done.
    struct Figures {
        std::uint64_t stops = 0;
        std::uint64_t checkpoints = 0;      // behind the first, which has all memory
        std::uint64_t pages = 0;            // of those
        std::uint64_t bytes = 0;            // of all
        std::chrono::nanoseconds stood{0};  // of the guest, for those: copying, and waiting for the one before
        std::chrono::nanoseconds longest{0};
    };
    [[nodiscard]] Figures figures() const { return figures_; }

  private:
    struct Checkpoint {
        Stop stop;
        GuestTime clock{0};
        std::vector<std::byte> processor;
        std::vector<std::pair<std::vector<std::uint64_t>, std::vector<std::byte>>> pages;
        std::vector<Output> outputs;
    };

    void take(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) override;
    void hold(std::vector<Output> outputs);
    void copy(machine::Machine& machine);
    void await_keeper();
    void send_all();
    [[nodiscard]] std::optional<Checkpoint> next();

    CheckpointSender sender_;
    const Release release_;
    std::atomic<bool> due_{true};
    // Of the vCPU's thread.
    Stop stop_;
    GuestTime clock_{0};
    std::vector<Output> held_;
    Checkpoint copied_;
    std::size_t pages_copied_ = 0;  // of it
    bool begun_ = false;            // the first one is done
    Figures figures_;
    // Shared with the sender's thread.
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<Checkpoint> waiting_;
    bool busy_ = false;  // with one that the keeper does not have yet
    bool ended_ = false;
    std::exception_ptr failure_;
    std::thread thread_;
};

}  // namespace understudy::replication
