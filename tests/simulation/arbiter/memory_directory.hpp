// A directory in memory that behaves as a disk may at a power failure: what was not synced is lost, or not, or in part.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "arbiter/storage/file_system.hpp"

namespace understudy::arbiter::simulation {

// Thrown out of a file operation: the server died in it.
struct SimulatedCrash {};

class MemoryDirectory : public Directory {
  public:
    explicit MemoryDirectory(std::mt19937_64& random) : random_(random) {}

    // The n-th modifying operation from now crashes the server (0: none does), before or in the middle of its effect.
    void crash_after(int operations) { until_crash_ = operations; }
    // The n-th modifying operation from now fails as on a full disk. If it is a file's sync(), the host does as Linux
    // does: what was to be written counts as written, can be read, and is not tried again by the next sync().
    void fail_after(int operations) { until_failure_ = operations; }
    // Power failure: synced data stays; of each unsynced write any set of 64-byte pieces does; of the directory's
    // unsynced changes the first few do.
    void lose_unsynced();
    // The server dies, its host does not: nothing is lost, and what was not synced may still be.
    void outlive_server() { until_crash_ = until_failure_ = 0; }

    std::vector<std::string> list() override;
    std::string read(const std::string& name) override;
    std::unique_ptr<File> open(const std::string& name) override;
    void rename(const std::string& from, const std::string& to) override;
    void remove(const std::string& name) override;
    void sync() override;
    std::string path(const std::string& name) const override { return "memory/" + name; }

  private:
    struct Node {
        std::string synced;   // what is on the disk
        std::string current;  // what is read: the host's memory
        // Changes that the next sync() writes, in order: (offset, bytes), or a truncation where `bytes` is empty.
        std::vector<std::pair<std::uint64_t, std::string>> changes;
    };
    using NodePointer = std::shared_ptr<Node>;
    using Names = std::map<std::string, NodePointer>;
    class MemoryFile;

    // Takes the changes to the disk; or any set of their 64-byte pieces, and the host forgets that there are others.
    void write_back(Node& node, bool in_part);
    void operation();  // counts down to the crash or the failure
    [[nodiscard]] bool coin() { return (random_() & 1U) != 0; }

    std::mt19937_64& random_;
    Names synced_;
    std::vector<Names> changes_;  // the directory after each unsynced change
    Names current_;
    int until_crash_ = 0;
    int until_failure_ = 0;
};

}  // namespace understudy::arbiter::simulation
