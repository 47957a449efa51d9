#include "hypervisor/replication/replica/state_keeper.hpp"

#include <chrono>
#include <system_error>
#include <utility>

#include "common/error.hpp"

namespace understudy::replication {
namespace {

class SnapshotUntilGivenUp final : public channel::StateSource {
  public:
    SnapshotUntilGivenUp(std::unique_ptr<memory::MemorySnapshot> snapshot, std::stop_token given_up)
        : snapshot_(std::move(snapshot)), given_up_(std::move(given_up)) {}
    [[nodiscard]] Bytes size() const override { return snapshot_->size(); }
    void read(std::size_t offset, std::span<std::byte> into) override {
        if (given_up_.stop_requested()) {
            throw Error("the replica ended before all of its guest's state was written");
        }
        snapshot_->read(offset, into);
    }

  private:
    std::unique_ptr<memory::MemorySnapshot> snapshot_;
    std::stop_token given_up_;
};

}  // namespace

void keep_state(const std::filesystem::path& path, const channel::LogHeader& header,
                std::unique_ptr<channel::StateSource> memory, std::vector<std::byte> vcpu_state) {
    try {
        channel::LogWriter(path, header, std::move(memory), std::move(vcpu_state)).finish();
    } catch (const Error&) {
        std::error_code ignored;
        std::filesystem::remove(path, ignored);
        throw;
    }
}

StateKeeper::StateKeeper(std::filesystem::path path, channel::LogHeader header,
                         std::unique_ptr<memory::MemorySnapshot> snapshot, std::vector<std::byte> vcpu_state)
    : path_(std::move(path)),
      header_(std::move(header)),
      snapshot_(std::move(snapshot)),
      vcpu_state_(std::move(vcpu_state)) {}

bool StateKeeper::ready() const {
    return snapshot_->ready();
}

void StateKeeper::begin() {
    snapshot_->take();
    auto memory = std::make_unique<SnapshotUntilGivenUp>(std::move(snapshot_), given_up_.get_token());
    written_ = std::async(std::launch::async, [this, memory = std::move(memory)]() mutable {
        keep_state(path_, header_, std::move(memory), std::move(vcpu_state_));
    });
}

bool StateKeeper::over() const {
    return written_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

void StateKeeper::finish() {
    written_.get();
}

void StateKeeper::give_up() {
    given_up_.request_stop();
}

}  // namespace understudy::replication
