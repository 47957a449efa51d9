// Backups come and go on one thread while the guest's state is taken for them on another.
#include "hypervisor/replication/replica/replica_sinks.hpp"

#include <gtest/gtest.h>

#include "hypervisor/machine/small_machine.hpp"
#include "tests/unit/hypervisor/machine/idle_engine.hpp"

namespace understudy::replication {
namespace {

class ReadySnapshot final : public memory::MemorySnapshot {
  public:
    [[nodiscard]] Bytes size() const override { return {0}; }
    [[nodiscard]] bool ready() const override { return true; }
    void take() override {}
    void read(std::size_t /*offset*/, std::span<std::byte> /*into*/) override {}
    [[nodiscard]] Cost cost() const override { return {}; }
};

class LiveSinkTest : public testing::Test {
  protected:
    TransferNumber begin() { return sink_.begin_transfer(std::make_unique<ReadySnapshot>()); }
    // The numbers of the transfers whose snapshots the I/O thread finds.
    std::vector<TransferNumber> handed_over() {
        std::vector<TransferNumber> numbers;
        for (const Handover& item : outbox_.take()) {
            if (const auto* snapshot = std::get_if<Snapshot>(&item)) {
                numbers.push_back(snapshot->transfer);
            }
        }
        return numbers;
    }

    Outbox outbox_{[] {}};
    Brake brake_;
    LiveSink sink_{outbox_, brake_};
    machine::SmallMachine machine_{
        8_MiB, [](std::span<std::byte>, const engine::BootState&) { return std::make_unique<machine::IdleEngine>(); }};
};

TEST_F(LiveSinkTest, PagesAreWantedFromTheSnapshotOnAndUntilTheBackupIsGone) {
    EXPECT_EQ(sink_.written_pages(), nullptr);
    const TransferNumber transfer = begin();
    EXPECT_EQ(sink_.written_pages(), nullptr);
    sink_.settled(machine_);
    EXPECT_NE(sink_.written_pages(), nullptr);
    EXPECT_EQ(handed_over(), std::vector{transfer});
    sink_.end_transfer();
    EXPECT_EQ(sink_.written_pages(), nullptr);
}

// It would be taken for the next one's, whose log begins behind it with intervals whose pages nobody copied.
TEST_F(LiveSinkTest, ASnapshotForABackupThatIsGoneIsNotTheNextOnes) {
    const TransferNumber gone = begin();
    sink_.settled(machine_);
    sink_.end_transfer();
    const TransferNumber next = begin();
    EXPECT_NE(next, gone);
    EXPECT_EQ(sink_.written_pages(), nullptr);
    sink_.settled(machine_);
    EXPECT_NE(sink_.written_pages(), nullptr);
    EXPECT_EQ(handed_over(), (std::vector{gone, next}));
}

TEST_F(LiveSinkTest, NoSnapshotIsTakenForABackupThatIsGone) {
    static_cast<void>(begin());
    sink_.end_transfer();
    EXPECT_FALSE(sink_.wants_stop());
    sink_.settled(machine_);
    EXPECT_TRUE(handed_over().empty());
    EXPECT_EQ(sink_.written_pages(), nullptr);
}

}  // namespace
}  // namespace understudy::replication
