// Checkpoints of a guest on a stream, from its host to who keeps them. Numbers are little-endian:
//
//   host      8 bytes: the guest's memory, in bytes. Then for each checkpoint what a log has of a copied interval: the
//             pages that were written since the last one, and a record with the processor (record_codec.hpp); its stop
//             is the one at which the checkpoint was taken
//   keeper    8 bytes for each whole checkpoint that it has: the stop's number
//
// For measuring what record and replay are compared with. Nobody takes over from a checkpoint by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/execution.hpp"
#include "common/file_descriptor.hpp"
#include "common/units.hpp"
#include "hypervisor/machine/machine.hpp"
#include "logging_channel/page_codec.hpp"
#include "logging_channel/record_codec.hpp"

namespace understudy::replication {

// A connection to where a keeper listens. Throws understudy::Error, also for an endpoint of another machine: what is
// sent is the guest's memory in plain text.
[[nodiscard]] FileDescriptor connect_to_keeper(const std::string& endpoint);

// The host's side. Used by one thread, which waits for the keeper; shut_down() excepted.
class CheckpointSender {
  public:
    // `connection`: a stream socket. Every method throws understudy::Error when the keeper is gone.
    CheckpointSender(FileDescriptor connection, Bytes memory);

    // Pages of the checkpoint that is finished next: no more than kMaxEncodedPages.
    void send(std::vector<std::uint64_t> numbers, std::vector<std::byte> content);
    // The checkpoint at `stop`. Returns when the keeper has it.
    void finish(const Stop& stop, GuestTime clock, std::vector<std::byte> processor);
    // From any thread: whoever waits for the keeper does so no longer.
    void shut_down();

    [[nodiscard]] Bytes sent() const { return sent_; }

  private:
    void flush();

    FileDescriptor connection_;
    channel::RecordEncoder records_;
    channel::PageEncoder pages_;
    std::vector<std::byte> buffer_;
    Bytes sent_;
};

// The keeper's side: the guest as it was at the last whole checkpoint. Not thread-safe.
class CheckpointKeeper {
  public:
    // Waits for the begin of the stream. Throws understudy::Error: there is none, or not that much memory.
    explicit CheckpointKeeper(FileDescriptor connection);

    // Waits for the next checkpoint, takes it as a whole, and says so to the host. False: the host has ended the
    // stream; what it had begun means nothing. Throws understudy::Error when what arrives is no checkpoint.
    [[nodiscard]] bool take_next();

    [[nodiscard]] std::span<const std::byte> memory() const { return memory_->all(); }
    [[nodiscard]] std::span<const std::byte> processor() const { return processor_; }  // Machine::save_vcpu()

    struct Figures {
        std::uint64_t checkpoints = 0;
        std::uint64_t pages = 0;
        std::uint64_t bytes = 0;  // received
    };
    [[nodiscard]] const Figures& figures() const { return figures_; }

  private:
    [[nodiscard]] std::optional<Record> next_record();
    [[nodiscard]] bool receive();
    void take(const Record& checkpoint);

    FileDescriptor connection_;
    std::unique_ptr<machine::GuestMemory> memory_;
    std::vector<std::byte> processor_;
    std::optional<channel::RecordDecoder> records_;
    channel::PageDecoder pages_;
    std::vector<std::byte> buffer_;  // received, from begin_ on not yet decoded
    std::size_t begin_ = 0;
    Figures figures_;
};

}  // namespace understudy::replication
