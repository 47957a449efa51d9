#include "tests/simulation/arbiter/memory_directory.hpp"

#include <algorithm>
#include <utility>

#include "common/error.hpp"

namespace understudy::arbiter::simulation {
namespace {

constexpr std::size_t kPiece = 64;

void write_at(std::string& to, std::uint64_t offset, std::string_view bytes) {
    if (to.size() < offset + bytes.size()) {
        to.resize(offset + bytes.size());
    }
    to.replace(offset, bytes.size(), bytes);
}

}  // namespace

class MemoryDirectory::MemoryFile : public File {
  public:
    MemoryFile(MemoryDirectory& directory, NodePointer node) : directory_(directory), node_(std::move(node)) {}

    void write(std::uint64_t offset, std::string_view bytes) override {
        write_at(node_->current, offset, bytes);
        node_->changes.emplace_back(offset, bytes);
        directory_.operation();
    }
    void sync() override {
        try {
            directory_.operation();
        } catch (const Error&) {
            directory_.write_back(*node_, true);
            throw;
        }
        directory_.write_back(*node_, false);
    }
    void truncate(std::uint64_t size) override {
        directory_.operation();
        node_->current.resize(size);
        node_->changes.emplace_back(size, std::string());
    }

  private:
    MemoryDirectory& directory_;
    NodePointer node_;
};

void MemoryDirectory::operation() {
    if (until_failure_ > 0 && --until_failure_ == 0) {
        throw Error("cannot write memory: the disk is full");
    }
    if (until_crash_ > 0 && --until_crash_ == 0) {
        throw SimulatedCrash{};
    }
}

void MemoryDirectory::lose_unsynced() {
    until_crash_ = until_failure_ = 0;
    if (!changes_.empty()) {
        const auto kept = random_() % (changes_.size() + 1);
        current_ = kept == 0 ? synced_ : changes_[kept - 1];
    }
    synced_ = current_;
    changes_.clear();
    for (auto& [name, node] : current_) {
        write_back(*node, true);
        node->current = node->synced;
    }
}

void MemoryDirectory::write_back(Node& node, bool in_part) {
    for (const auto& [offset, bytes] : std::exchange(node.changes, {})) {
        if (bytes.empty()) {
            if (!in_part || coin()) {
                node.synced.resize(offset);
            }
            continue;
        }
        const auto kind = in_part ? random_() % 4 : 0;  // whole, nothing, torn, torn
        for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
            if (kind == 0 || (kind >= 2 && coin())) {
                write_at(node.synced, offset + at, std::string_view(bytes).substr(at, kPiece));
            }
        }
    }
}

std::vector<std::string> MemoryDirectory::list() {
    std::vector<std::string> names;
    for (const auto& [name, node] : current_) {
        names.push_back(name);
    }
    return names;
}

std::string MemoryDirectory::read(const std::string& name) {
    const auto it = current_.find(name);
    if (it == current_.end()) {
        throw Error("cannot open " + path(name));
    }
    return it->second->current;
}

std::unique_ptr<File> MemoryDirectory::open(const std::string& name) {
    auto it = current_.find(name);
    if (it == current_.end()) {
        operation();
        it = current_.emplace(name, std::make_shared<Node>()).first;
        changes_.push_back(current_);
    }
    return std::make_unique<MemoryFile>(*this, it->second);
}

void MemoryDirectory::rename(const std::string& from, const std::string& to) {
    operation();
    const auto node = current_.at(from);
    current_.erase(from);
    current_[to] = node;
    changes_.push_back(current_);
}

void MemoryDirectory::remove(const std::string& name) {
    operation();
    current_.erase(name);
    changes_.push_back(current_);
}

void MemoryDirectory::sync() {
    operation();
    synced_ = current_;
    changes_.clear();
}

}  // namespace understudy::arbiter::simulation
