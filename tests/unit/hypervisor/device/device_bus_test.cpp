#include "hypervisor/device/device_bus.hpp"

#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include "hypervisor/device/console_device.hpp"
#include "hypervisor/device/net_device.hpp"
#include "tests/unit/hypervisor/device/driver.hpp"

namespace understudy::device {
namespace {

using testing::Driver;

constexpr std::uint64_t kPages = 0x100000;
constexpr std::uint64_t kData = 0x180000;
constexpr std::size_t kConsole = 0;
constexpr std::size_t kNet = 1;
constexpr std::uint32_t kReady =
    VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;

struct Guest {
    Guest() : bus(memory, [this](std::size_t number) -> understudy_device& { return page(number); }) {
        bus.add(std::make_unique<ConsoleDevice>());
        bus.add(std::make_unique<NetDevice>(MacAddress{2, 0, 0, 0, 0, 1}));
    }
    understudy_device& page(std::size_t number) { return memory.at<understudy_device>({kPages + number * 4096}); }
    void start_console() {
        page(kConsole).queue[0] = receive.queue();
        page(kConsole).queue[1] = transmit.queue();
        page(kConsole).driver_features = page(kConsole).device_features;
        page(kConsole).status = kReady;
        bus.changed(kConsole);
    }
    std::string printed() {
        std::vector<Output> outputs;
        bus.collect(outputs);
        return outputs.empty() ? "" : std::string(as_text(outputs[0].bytes));
    }
    std::string state() const {
        std::string out;
        Encoder encoder(out);
        bus.save(encoder);
        return out;
    }

    GuestMemory memory{2_MiB};
    Driver receive{memory, 0x10000, 64};
    Driver transmit{memory, 0x20000, 64};
    DeviceBus bus;
};

TEST(DeviceBus, AtBootTheGuestFindsItsDevices) {
    Guest guest;
    guest.bus.boot();
    EXPECT_EQ(guest.page(kConsole).device_id, 3U);
    EXPECT_EQ(guest.page(kNet).device_id, 1U);
    EXPECT_EQ(guest.page(kNet).queues, 2U);
    EXPECT_EQ(guest.page(kNet).queue[1].size_max, 256U);
    EXPECT_EQ(guest.page(kNet).queue[2].size_max, 0U);
    EXPECT_NE(guest.page(kNet).device_features & std::uint64_t{1} << VIRTIO_F_VERSION_1, 0U);
    EXPECT_TRUE(guest.bus.queues(kNet).empty());
}

TEST(DeviceBus, ADeviceRunsFromDriverOkToReset) {
    Guest guest;
    guest.bus.boot();
    guest.transmit.store(kData, "text");
    guest.transmit.put({{kData, 4}});
    EXPECT_EQ(guest.printed(), "");
    guest.start_console();
    EXPECT_EQ(guest.printed(), "text");
    EXPECT_EQ(guest.bus.take_events(), 1U << kConsole);
    EXPECT_EQ(guest.bus.take_events(), 0U);
    guest.page(kConsole).status = 0;
    guest.bus.changed(kConsole);
    EXPECT_TRUE(guest.bus.queues(kConsole).empty());
    EXPECT_EQ(guest.page(kConsole).queue[1].ready, 0U);
}

TEST(DeviceBus, QueuesLargerThanOfferedAreNotUsed) {
    Guest guest;
    guest.bus.boot();
    guest.page(kConsole).queue[1] = Driver(guest.memory, 0x20000, 128).queue();
    guest.page(kConsole).status = kReady;
    guest.bus.changed(kConsole);
    EXPECT_FALSE(guest.bus.queues(kConsole)[1].ready());
}

TEST(DeviceBus, ADriverThatBreaksTheRulesIsToldOnceUntilItResets) {
    Guest guest;
    guest.bus.boot();
    guest.start_console();
    guest.receive.put_head(64);
    EXPECT_EQ(guest.printed(), "");
    EXPECT_EQ(guest.bus.take_events(), 1U << kConsole);
    EXPECT_EQ(guest.page(kConsole).status, kReady | VIRTIO_CONFIG_S_NEEDS_RESET);
    EXPECT_EQ(guest.page(kConsole).config_generation, 1U);
    EXPECT_EQ(guest.bus.take_events(), 0U);
    guest.transmit.store(kData, "text");
    guest.transmit.put({{kData, 4}});
    EXPECT_EQ(guest.printed(), "text") << "the other queue is sound";

    // What was told travels, and is not told twice.
    Guest other;
    std::ranges::copy(guest.memory.all(), other.memory.all().begin());
    const std::string state = guest.state();
    Decoder decoder(state);
    ASSERT_TRUE(other.bus.restore(decoder));
    EXPECT_EQ(other.bus.take_events(), guest.bus.take_events());
    EXPECT_EQ(other.page(kConsole).config_generation, 1U);

    guest.page(kConsole).status = 0;
    guest.bus.changed(kConsole);
    guest.receive.set_index(0);
    guest.transmit.set_index(0);
    guest.start_console();
    EXPECT_EQ(guest.bus.take_events(), 0U);
    EXPECT_FALSE(guest.bus.queues(kConsole)[0].broken());
}

TEST(DeviceBus, NumbersBeyondTheDevicesMeanNothing) {
    Guest guest;
    guest.bus.boot();
    guest.bus.changed(2);
    guest.bus.changed(~0U);
    EXPECT_EQ(guest.bus.take_events(), 0U);
}

TEST(DeviceBus, StatesOfOtherDevicesAreRefused) {
    Guest guest;
    guest.bus.boot();
    guest.start_console();
    const std::string state = guest.state();
    for (std::size_t i = 0; i < state.size(); ++i) {
        Guest other;
        Decoder cut(std::string_view(state).substr(0, i));
        EXPECT_FALSE(other.bus.restore(cut));
    }
    Guest other;
    std::string offered_nothing = state;
    offered_nothing[4 + 4 + 2] |= 1;  // feature 0, which a console does not offer
    Decoder features(offered_nothing);
    EXPECT_FALSE(other.bus.restore(features));
    std::string another = state;
    another[4] = 1;
    Decoder device(another);
    EXPECT_FALSE(other.bus.restore(device));
}

}  // namespace
}  // namespace understudy::device
