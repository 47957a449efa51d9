// A guest's state in a file of its own, a log without records, for who studies why two replicas differed. Written by a
// thread, from a snapshot of the guest's memory, while the guest goes on.
#pragma once

#include <cstddef>
#include <filesystem>
#include <future>
#include <memory>
#include <stop_token>
#include <vector>

#include "hypervisor/memory/memory_snapshot.hpp"
#include "logging_channel/log_file.hpp"

namespace understudy::replication {

// Writes the file whole, or leaves none and throws understudy::Error.
void keep_state(const std::filesystem::path& path, const channel::LogHeader& header,
                std::unique_ptr<channel::StateSource> memory, std::vector<std::byte> vcpu_state);

// Not thread-safe. Destruction waits for the file.
class StateKeeper {
  public:
    StateKeeper(std::filesystem::path path, channel::LogHeader header, std::unique_ptr<memory::MemorySnapshot> snapshot,
                std::vector<std::byte> vcpu_state);

    // The snapshot can be taken without delay.
    [[nodiscard]] bool ready() const;
    // Takes it, of a guest that stands still, and begins to write. Once. Throws understudy::Error.
    void begin();
    // After begin(): the file is written, or will not be.
    [[nodiscard]] bool over() const;
    // After begin(): waits until it is over. Throws understudy::Error when there is no file.
    void finish();
    // Leaves the rest of the file, and with it all of it, unwritten: nobody waits for it any longer.
    void give_up();

  private:
    std::filesystem::path path_;
    channel::LogHeader header_;
    std::unique_ptr<memory::MemorySnapshot> snapshot_;
    std::vector<std::byte> vcpu_state_;
    std::stop_source given_up_;
    std::future<void> written_;
};

}  // namespace understudy::replication
