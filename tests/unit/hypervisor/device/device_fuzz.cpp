// Any bytes as the life of a guest with every device: what it writes into its rings, descriptors and device pages, when
// it stops, what arrives. No device crashes, reads or writes outside guest memory (the sanitizers watch), or goes on
// without end; and a replica that only replays, without ever being asked what there is room for, ends in the same
// memory.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "common/temporary_directory.hpp"
#include "hypervisor/device/balloon_device.hpp"
#include "hypervisor/device/block_device.hpp"
#include "hypervisor/device/console_device.hpp"
#include "hypervisor/device/device_bus.hpp"
#include "hypervisor/device/entropy_device.hpp"
#include "hypervisor/device/net_device.hpp"
#include "tests/fuzz_source.hpp"

namespace {

using namespace understudy;
using namespace understudy::device;

constexpr Bytes kMemory{68U << 10};
constexpr std::uint64_t kPages = 0xC000;
constexpr std::size_t kPage = 4096;
constexpr std::size_t kConsole = 0;
constexpr std::size_t kEntropy = 1;
constexpr std::size_t kNet = 2;
constexpr std::size_t kBalloon = 4;
constexpr std::size_t kDevices = 5;
constexpr std::size_t kMaxStops = 24;
constexpr std::uint16_t kRing = 8;

// Those that are used.
constexpr std::size_t queues_of(std::size_t device) {
    return device == kBalloon ? 3 : 2;
}

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

const std::filesystem::path& image() {
    static const TemporaryDirectory directory;
    static const std::filesystem::path path = [] {
        auto file = directory.path() / "image";
        std::ofstream(file, std::ios::binary) << std::string(4096, 'i');
        return file;
    }();
    return path;
}

// One replica's guest, as far as devices see it.
class Guest {
  public:
    Guest() : bus_(memory_, [this](std::size_t number) -> understudy_device& { return page(number); }) {
        bus_.add(std::make_unique<ConsoleDevice>());
        bus_.add(std::make_unique<EntropyDevice>());
        bus_.add(std::make_unique<NetDevice>(MacAddress{2, 0, 0, 0, 0, 1}));
        bus_.add(std::make_unique<BlockDevice>(image()));
        bus_.add(std::make_unique<BalloonDevice>(memory_));
        bus_.boot();
    }

    GuestMemory& memory() { return memory_; }
    DeviceBus& bus() { return bus_; }
    understudy_device& page(std::size_t number) { return memory_.at<understudy_device>({kPages + number * kPage}); }
    const NetDevice& nic() { return static_cast<const NetDevice&>(bus_.device(kNet)); }

    void write(std::uint64_t at, std::span<const std::byte> bytes) {
        const auto room = memory_.all().subspan(at);
        std::copy_n(bytes.begin(), std::min(bytes.size(), room.size()), room.begin());
    }

    // What a sound driver does: queues of kRing entries, side by side, everything accepted.
    void start(std::size_t number, std::uint64_t features) {
        understudy_device& device = page(number);
        for (std::size_t q = 0; q < queues_of(number); ++q) {
            understudy_queue& queue = device.queue[q];
            const std::uint64_t base = 0x1000 * (2 * number + q);
            queue.size = kRing;
            queue.ready = 1;
            queue.descriptors = base;
            queue.available = base + 0x400;
            queue.used = base + 0x800;
        }
        device.driver_features = features;
        device.status = 15;
        bus_.changed(static_cast<std::uint32_t>(number));
    }

    // Puts a chain of one descriptor out.
    void put(std::size_t number, std::size_t queue, std::uint64_t address, std::uint32_t bytes, std::uint16_t flags) {
        const std::uint64_t base = 0x1000 * (2 * number + queue);
        auto& index = memory_.at<std::uint16_t>({base + 0x402});
        const std::uint64_t at = index % kRing;
        memory_.at<std::uint64_t>({base + 16 * at}) = address;
        memory_.at<std::uint32_t>({base + 16 * at + 8}) = bytes;
        memory_.at<std::uint16_t>({base + 16 * at + 12}) = flags;
        memory_.at<std::uint16_t>({base + 0x404 + 2 * at}) = static_cast<std::uint16_t>(at);
        ++index;
    }

    std::vector<Output> stop() {
        std::vector<Output> outputs;
        bus_.collect(outputs);
        events_ |= bus_.take_events();
        return outputs;
    }

    void apply(const Input& input) {
        if (const auto queues = bus_.queues(kNet); !queues.empty()) {
            nic().receive(queues, input.frames);
        }
        if (const auto queues = bus_.queues(kConsole); !queues.empty()) {
            ConsoleDevice::receive(queues, input.typed);
        }
        if (const auto queues = bus_.queues(kEntropy); !queues.empty()) {
            EntropyDevice::receive(queues, input.answer);
        }
        events_ |= bus_.take_events();
    }

    [[nodiscard]] std::string state() const {
        std::string out;
        Encoder encoder(out);
        bus_.save(encoder);
        return out;
    }
    [[nodiscard]] std::uint64_t events() const { return events_; }

  private:
    GuestMemory memory_{kMemory, GuestMemory::Population::later};
    DeviceBus bus_;
    std::uint64_t events_ = 0;
};

class Life {
  public:
    explicit Life(std::span<const std::byte> bytes) : source_(bytes) {}

    void live() {
        std::size_t stops = 0;
        while (!source_.empty() && stops < kMaxStops) {
            switch (source_.u8() % 8) {
                case 0:
                    write();
                    break;
                case 1:
                    scramble();
                    break;
                case 2:
                    start();
                    break;
                case 3:
                    put();
                    break;
                case 4:
                    change();
                    break;
                case 5:
                    move();
                    break;
                default:
                    stop();
                    ++stops;
            }
        }
        stop();
    }

  private:
    void both(const std::function<void(Guest&)>& act) {
        act(recorded_);
        act(replayed_);
    }

    void write() {
        const std::uint16_t at = source_.u16();
        const auto bytes = source_.take(source_.u8() % 64);
        both([&](Guest& guest) { guest.write(at, bytes); });
    }

    // Random bytes over one page, or over all of memory.
    void scramble() {
        const std::uint8_t which = source_.u8();
        std::mt19937 random(source_.u8());
        std::vector<std::byte> noise(which >= 128 ? kMemory.value : kPage);
        std::ranges::generate(noise, [&] { return static_cast<std::byte>(random()); });
        const std::uint64_t at = which >= 128 ? 0 : which % 16 * kPage;
        both([&](Guest& guest) { guest.write(at, noise); });
    }

    void start() {
        const std::size_t number = source_.u8() % kDevices;
        const std::uint64_t features = ~std::uint64_t{source_.u16()};
        both([&](Guest& guest) { guest.start(number, features); });
    }

    void put() {
        const std::size_t number = source_.u8() % kDevices;
        const std::size_t queue = source_.u8() % queues_of(number);
        const std::uint16_t address = source_.u16();
        const std::uint16_t bytes = source_.u16();
        const std::uint16_t flags = source_.u8() % 8;
        both([&](Guest& guest) { guest.put(number, queue, address, bytes, flags); });
    }

    void change() {
        const std::uint8_t number = source_.u8();
        both([&](Guest& guest) { guest.bus().changed(number); });
    }

    // The state of one goes into the other, as in a transfer.
    void move() {
        const std::string state = recorded_.state();
        Decoder decoder(state);
        require(replayed_.bus().restore(decoder) && decoder.finished());
        Decoder damaged(std::string_view(state).substr(0, source_.u16() % state.size()));
        Guest other;
        std::ranges::copy(recorded_.memory().all(), other.memory().all().begin());
        require(!other.bus().restore(damaged));
    }

    std::vector<Frame> arrived() {
        std::vector<Frame> frames(source_.u8() % 4);
        for (Frame& frame : frames) {
            const auto bytes = source_.take(source_.u8());
            frame.assign(bytes.begin(), bytes.end());
            frame.resize(source_.u8() % 4 == 0 ? source_.u16() : std::max<std::size_t>(frame.size(), 60));
        }
        return frames;
    }

    void stop() {
        const auto outputs = recorded_.stop();
        require(outputs == replayed_.stop());
        for (const Output& output : outputs) {
            require(output.kind == Output::Kind::console || is_frame_size(output.bytes.size()));
        }
        Input input;
        input.frames = arrived();
        if (const auto queues = recorded_.bus().queues(kNet); !queues.empty()) {
            const std::size_t buffers = NetDevice::receive_buffers(queues);
            const std::size_t room = recorded_.nic().room_for(queues, input.frames);
            require(room <= input.frames.size());
            require(buffers == NetDevice::receive_buffers(queues));
            if (source_.u8() % 2 == 0) {
                input.frames.resize(room);
            }
        }
        if (const auto queues = recorded_.bus().queues(kConsole); !queues.empty()) {
            input.typed.resize(std::min<std::size_t>(ConsoleDevice::room(queues), 100), std::byte{'t'});
        }
        if (const auto queues = recorded_.bus().queues(kEntropy); !queues.empty()) {
            input.answer.resize(EntropyDevice::wanted(queues), std::byte{'r'});
            require(input.answer.size() <= kMaxEntropy);
        }
        both([&](Guest& guest) { guest.apply(input); });
        require(recorded_.events() == replayed_.events());
        require(recorded_.state() == replayed_.state());
        require(std::memcmp(recorded_.memory().all().data(), replayed_.memory().all().data(), kMemory.value) == 0);
    }

    FuzzSource source_;
    Guest recorded_;
    Guest replayed_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Life(std::span(reinterpret_cast<const std::byte*>(data), size)).live();
    return 0;
}
