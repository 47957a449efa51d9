// A tap of the host, optionally on a bridge. For a guest whose NIC offloads, the host's network stack does what the
// frames' headers ask for, or passes it on to the next: TCP travels in pieces of up to 64 KiB.
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "hypervisor/gateway/packet.hpp"
#include "hypervisor/gateway/protocol.hpp"
#include "hypervisor/network/links.hpp"
#include "hypervisor/network/offload.hpp"

namespace understudy::network {
namespace {

namespace asio = boost::asio;

constexpr int kMaxFramesPerWakeup = 64;
constexpr int kQueueFrames = 4096;          // the kernel's usual 1,000 are full when 1,000 clients come together
constexpr std::size_t kBridgePorts = 1024;  // the most that Linux gives a bridge
constexpr std::size_t kReadBuffer = kMaxFrameBytes + 1;  // so that an oversized one is seen as such

struct TapName {
    std::string device;
    std::string bridge;  // empty: none
};

TapName parse_tap(std::string_view text) {
    constexpr std::string_view kBridge = "bridge=";
    const auto comma = text.find(',');
    TapName name{.device = std::string(text.substr(0, comma)), .bridge = {}};
    if (comma != std::string_view::npos) {
        const auto option = text.substr(comma + 1);
        if (!option.starts_with(kBridge) || option.size() == kBridge.size()) {
            throw Error::format("'tap:{}': the only option of a tap is bridge=BRIDGE", text);
        }
        name.bridge = option.substr(kBridge.size());
    }
    if (name.device.empty() || name.device.size() >= IFNAMSIZ || name.bridge.size() >= IFNAMSIZ) {
        throw Error::format("'tap:{}': a network device's name has 1 to {} characters", text, IFNAMSIZ - 1);
    }
    return name;
}

ifreq request_for(const std::string& device) {
    ifreq request{};
    device.copy(static_cast<char*>(request.ifr_name), IFNAMSIZ - 1);
    return request;
}

// What the host may leave to the guest's NIC. A tap that outlives its processes keeps what it was told last, so it is
// told every time.
void set_offload(int tap, const std::string& device, FrameFormat format) {
    int header = kOffloadHeaderBytes;
    const bool offloads = format == FrameFormat::with_offload_header;
    const unsigned features = offloads ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0;
    if ((offloads && ::ioctl(tap, TUNSETVNETHDRSZ, &header) != 0) || ::ioctl(tap, TUNSETOFFLOAD, features) != 0) {
        throw Error::from_errno("cannot set the offloads of the tap " + device, errno);
    }
}

FileDescriptor open_tap(const std::string& device, FrameFormat format) {
    FileDescriptor fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!fd) {
        throw Error::from_errno("cannot open /dev/net/tun", errno);
    }
    ifreq request = request_for(device);
    request.ifr_flags =
        format == FrameFormat::with_offload_header ? IFF_TAP | IFF_NO_PI | IFF_VNET_HDR : IFF_TAP | IFF_NO_PI;
    if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) {
        const int reason = errno;
        const char* advice = reason == EPERM   ? " (needs root, or a tap that 'ip tuntap add' made for this user)"
                             : reason == EBUSY ? " (another process uses it)"
                                               : "";
        throw Error::from_errno("cannot make the tap " + device + advice, reason);
    }
    set_offload(fd.get(), device, format);
    return fd;
}

// The host's own IPv6 must not send solicitations into the guest's network card.
void silence_ipv6(const std::string& device) {
    std::ofstream("/proc/sys/net/ipv6/conf/" + device + "/disable_ipv6") << "1\n";
}

// A bridge without an address of its own has the lowest of its ports': that of a tap, which goes with its replica, must
// not be it, or the hosts around know the bridge by an address that nobody answers to any more. So taps have high ones.
void raise_address(int control, const std::string& device) {
    ifreq request = request_for(device);
    if (::ioctl(control, SIOCGIFHWADDR, &request) == 0) {
        request.ifr_hwaddr.sa_data[0] = static_cast<char>(0xfe);  // of those that are for one station, and made up
        [[maybe_unused]] const int raised = ::ioctl(control, SIOCSIFHWADDR, &request);
    }
}

// Room for a crowd while the replica does something else: what finds none is lost, and its sender waits before it sends
// it again. Whoever made the tap for a user without rights has chosen its length.
void lengthen_queue(int control, const std::string& device) {
    ifreq request = request_for(device);
    request.ifr_qlen = kQueueFrames;
    [[maybe_unused]] const int lengthened = ::ioctl(control, SIOCSIFTXQLEN, &request);
}

// What root alone may do and a tap that outlives its processes may have been given before.
std::string advice_for_user(int reason, const std::string& setting) {
    return reason == EPERM ? " (have root do it: ip link set " + setting + ")" : "";
}

bool is_port(int control, const std::string& bridge, int device) {
    std::array<int, kBridgePorts> ports{};
    std::array<unsigned long, 4> query = {BRCTL_GET_PORT_LIST, reinterpret_cast<unsigned long>(ports.data()),
                                          ports.size(), 0};
    ifreq request = request_for(bridge);
    request.ifr_data = reinterpret_cast<char*>(query.data());
    return ::ioctl(control, SIOCDEVPRIVATE, &request) >= 0 && std::ranges::find(ports, device) != ports.end();
}

void add_to_bridge(int control, const TapName& name) {
    const int device = static_cast<int>(if_nametoindex(name.device.c_str()));
    ifreq request = request_for(name.bridge);
    request.ifr_ifindex = device;
    if (::ioctl(control, SIOCBRADDIF, &request) == 0) {
        return;
    }
    const int reason = errno;
    if (is_port(control, name.bridge, device)) {
        return;
    }
    throw Error::from_errno("cannot add the tap " + name.device + " to the bridge " + name.bridge +
                                advice_for_user(reason, name.device + " master " + name.bridge),
                            reason);
}

void bring_up(int control, const std::string& device) {
    ifreq request = request_for(device);
    if (::ioctl(control, SIOCGIFFLAGS, &request) != 0) {
        throw Error::from_errno("cannot read the state of the tap " + device, errno);
    }
    if ((request.ifr_flags & IFF_UP) != 0) {
        return;
    }
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (::ioctl(control, SIOCSIFFLAGS, &request) != 0) {
        const int reason = errno;
        throw Error::from_errno("cannot bring the tap " + device + " up" + advice_for_user(reason, device + " up"),
                                reason);
    }
}

// Handlers in flight keep the device alive; close() makes them do nothing.
class TapDevice : public std::enable_shared_from_this<TapDevice> {
  public:
    TapDevice(asio::io_context& io, TapName name, const LinkConfig& config, Link::FrameHandler on_frame)
        : io_(io),
          name_(std::move(name)),
          mac_(config.mac),
          ipv4_address_(config.ipv4_address),
          format_(config.format),
          on_frame_(std::move(on_frame)),
          control_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
          device_(io, open_tap(name_.device, format_).release()),
          buffer_(kReadBuffer) {
        // The device comes up now, because the kernel takes its time to let frames through. The replica is silent all
        // the same: it writes nothing, so that no bridge learns this port, and what arrives is thrown away.
        silence_ipv6(name_.device);
        lengthen_queue(control_.get(), name_.device);
        if (!name_.bridge.empty()) {
            raise_address(control_.get(), name_.device);
            add_to_bridge(control_.get(), name_);
        }
        bring_up(control_.get(), name_.device);
    }

    void speak() {
        if (!std::exchange(speaking_, true)) {
            discard_backlog();
            wait_readable();
        }
        if (ipv4_address_ != 0) {
            announce(ArpForm::request);
            announce(ArpForm::reply);
        }
    }

    void send(std::span<const Frame> frames) {
        if (!speaking_) {
            return;
        }
        for (const Frame& frame : frames) {
            write(frame);
        }
    }

    void pause(bool paused) {
        if (std::exchange(paused_, paused) && !paused) {
            // Not from here: the caller may be inside on_frame.
            asio::post(io_, [self = shared_from_this()] { self->wait_readable(); });
        }
    }

    void close() {
        speaking_ = false;
        boost::system::error_code ignored;
        device_.close(ignored);
    }

  private:
    void announce(ArpForm form) {
        const Frame arp = gratuitous_arp(form, mac_, ipv4_address_);
        write(format_ == FrameFormat::plain ? arp : with_offload_header(arp));
    }

    // A header is written anew from what was understood of the guest's. The kernel takes a frame or, out of memory,
    // refuses it: then it is lost, as on a wire.
    void write(std::span<const std::byte> frame) {
        std::array<std::byte, kOffloadHeaderBytes> header{};
        std::array<iovec, 2> parts{};
        if (format_ == FrameFormat::with_offload_header) {
            const auto checked = check_offload(frame);
            if (!checked) {
                return;
            }
            write_offload_header(header, *checked);
            parts[0] = {.iov_base = header.data(), .iov_len = header.size()};
            frame = frame.subspan(kOffloadHeaderBytes);
        } else if (!is_wire_frame_size(frame.size())) {
            return;
        }
        // iovec has no const; writev does not write.
        parts[1] = {.iov_base = const_cast<std::byte*>(frame.data()), .iov_len = frame.size()};
        [[maybe_unused]] const ssize_t written = ::writev(device_.native_handle(), parts.data(), parts.size());
    }

    [[nodiscard]] bool is_receivable(std::size_t bytes) const {
        return format_ == FrameFormat::plain ? is_wire_frame_size(bytes)
                                             : is_frame_size(bytes) && is_frame_size(bytes - kOffloadHeaderBytes);
    }

    // What was flooded to this port while another replica spoke. The kernel's queue is short, so this ends.
    void discard_backlog() {
        while (::read(device_.native_handle(), buffer_.data(), buffer_.size()) >= 0) {
        }
    }

    void wait_readable() {
        if (!speaking_ || paused_ || std::exchange(waiting_, true)) {
            return;
        }
        device_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [self = shared_from_this()](boost::system::error_code error) {
                               self->waiting_ = false;
                               if (!error && self->speaking_) {
                                   self->receive();
                               }
                           });
    }

    void receive() {
        for (int i = 0; i < kMaxFramesPerWakeup && speaking_ && !paused_; ++i) {
            const ssize_t got = ::read(device_.native_handle(), buffer_.data(), buffer_.size());
            if (got < 0 && errno != EAGAIN && errno != EINTR) {
                // Somebody took the tap down or deleted it: the guest has lost its carrier until the next speak().
                spdlog::error("the tap {} failed: {}", name_.device, std::generic_category().message(errno));
                speaking_ = false;
                return;
            }
            if (got < 0) {
                break;
            }
            if (is_receivable(static_cast<std::size_t>(got))) {
                on_frame_(Frame(buffer_.begin(), buffer_.begin() + got));
            }
        }
        wait_readable();
    }

    asio::io_context& io_;
    TapName name_;
    MacAddress mac_;
    std::uint32_t ipv4_address_;
    FrameFormat format_;
    Link::FrameHandler on_frame_;
    FileDescriptor control_;
    asio::posix::stream_descriptor device_;
    std::vector<std::byte> buffer_;
    bool speaking_ = false;
    bool paused_ = false;
    bool waiting_ = false;
};

class TapLink final : public Link {
  public:
    explicit TapLink(std::shared_ptr<TapDevice> device) : device_(std::move(device)) {}
    TapLink(const TapLink&) = delete;
    TapLink& operator=(const TapLink&) = delete;
    ~TapLink() override { device_->close(); }

    void stand_by() override {}
    void speak(SpeakerRank /*rank*/) override { device_->speak(); }
    void send(std::span<const Frame> frames) override { device_->send(frames); }
    [[nodiscard]] Passage passage() const override { return {}; }  // send() keeps nothing
    void pause_receive(bool paused) override { device_->pause(paused); }

  private:
    std::shared_ptr<TapDevice> device_;
};

}  // namespace

std::unique_ptr<Link> make_tap_link(boost::asio::io_context& io, std::string_view endpoint, const LinkConfig& config,
                                    Link::FrameHandler on_frame) {
    return std::make_unique<TapLink>(std::make_shared<TapDevice>(io, parse_tap(endpoint), config, std::move(on_frame)));
}

}  // namespace understudy::network
