// A small guest on this host's KVM: what its first writes cost while they are tracked.
#include "hypervisor/machine/first_write.hpp"

#include <gtest/gtest.h>

#include "hypervisor/engine/kvm/kvm_engine.hpp"
#include "tests/integration/tools/on_kvm.hpp"
#include "tests/unit/hypervisor/machine/idle_engine.hpp"

namespace understudy::machine {
namespace {

class FirstWrite : public tools::testing::OnKvm {};

TEST_F(FirstWrite, IsDearerThanAnother) {
    const auto cost = measure_first_write(engine::KvmEngines());
    RecordProperty("nanoseconds", static_cast<int>(cost.count()));
    EXPECT_GT(cost.count(), 0);
}

// A host that cannot track, and one on which the guest breaks.
class Useless final : public IdleEngine {
  public:
    explicit Useless(bool tracks) : tracks_(tracks) {}
    engine::Exit run() override { return engine::Broken{"it does not run"}; }
    bool track_writes(bool /*on*/) override { return tracks_; }

  private:
    bool tracks_;
};

TEST(FirstWriteElsewhere, IsUnknown) {
    for (const bool tracks : {false, true}) {
        const EngineFactory factory = [tracks](std::span<std::byte> /*memory*/, const engine::BootState& /*boot*/) {
            return std::make_unique<Useless>(tracks);
        };
        EXPECT_EQ(measure_first_write(factory).count(), 0);
    }
}

}  // namespace
}  // namespace understudy::machine
