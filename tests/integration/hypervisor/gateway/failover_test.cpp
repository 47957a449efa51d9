// The gateway and the replicas' links around a guest with a real TCP stack: replicas die, the host's connections stay.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <future>
#include <memory>
#include <thread>

#include "hypervisor/network/link.hpp"
#include "tests/integration/hypervisor/network/namespace_guest.hpp"
#include "tests/unit/hypervisor/gateway/running_gateway.hpp"
#include "tests/unit/tools/verifier/fake_store.hpp"
#include "tools/verifier/verifier.hpp"

namespace understudy::network {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using asio::ip::udp;
using boost::system::error_code;
using testing::RunningGateway;
using tools::testing::FakeStore;
using namespace std::chrono_literals;

constexpr MacAddress kMac = {0x52, 0x54, 0, 0xaa, 0, 1};
constexpr std::uint16_t kStorePort = 6379;
constexpr std::uint16_t kEchoPort = 7;
constexpr std::uint16_t kUdpPort = 77;

// The guest: a store of the Redis protocol, a TCP and a UDP echo, in a namespace of its own.
class Guest {
  public:
    explicit Guest(FrameFormat format) : format_(format) {
        testing::in_new_network_namespace([this] {
            tap_ = testing::make_guest_tap(kMac, format_);
            store_acceptor_.emplace(io_, tcp::endpoint(tcp::v4(), kStorePort));
            echo_acceptor_.emplace(io_, tcp::endpoint(tcp::v4(), kEchoPort));
            udp_.emplace(io_, udp::endpoint(udp::v4(), kUdpPort));
        });
        accept(*store_acceptor_, true);
        accept(*echo_acceptor_, false);
        receive_datagram();
        thread_ = std::thread([this] { io_.run(); });
    }
    ~Guest() {
        io_.stop();
        thread_.join();
    }
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;

    [[nodiscard]] int tap() const { return tap_.get(); }
    [[nodiscard]] FrameFormat format() const { return format_; }

  private:
    struct Session : std::enable_shared_from_this<Session> {
        Session(tcp::socket connected, FakeStore* served) : socket(std::move(connected)), store(served) {}

        void read() {
            socket.async_read_some(asio::buffer(buffer),
                                   [self = shared_from_this()](error_code error, std::size_t size) {
                                       if (!error) {
                                           self->answer(std::string_view(self->buffer.data(), size));
                                       }
                                   });
        }
        void answer(std::string_view bytes) {
            if (store == nullptr) {
                answers.assign(bytes);
            } else {
                requests.append(bytes);
                answers.clear();
                while (true) {
                    const auto words = tools::testing::take_request(requests);
                    if (words.empty()) {
                        break;
                    }
                    answers += tools::testing::encode(store->execute(words));
                }
            }
            asio::async_write(socket, asio::buffer(answers),
                              [self = shared_from_this()](error_code error, std::size_t /*size*/) {
                                  if (!error) {
                                      self->read();
                                  }
                              });
        }

        tcp::socket socket;
        FakeStore* store;
        std::array<char, 65536> buffer{};
        std::string requests;
        std::string answers;
    };

    void accept(tcp::acceptor& acceptor, bool stores) {
        acceptor.async_accept([this, &acceptor, stores](error_code error, tcp::socket socket) {
            if (!error) {
                socket.set_option(tcp::no_delay(true));
                std::make_shared<Session>(std::move(socket), stores ? &store_ : nullptr)->read();
                accept(acceptor, stores);
            }
        });
    }

    void receive_datagram() {
        udp_->async_receive_from(asio::buffer(datagram_), sender_, [this](error_code error, std::size_t size) {
            if (!error) {
                udp_->send_to(asio::buffer(datagram_.data(), size), sender_);
                receive_datagram();
            }
        });
    }

    const FrameFormat format_;
    asio::io_context io_;
    FileDescriptor tap_;
    FakeStore store_;
    std::optional<tcp::acceptor> store_acceptor_;
    std::optional<tcp::acceptor> echo_acceptor_;
    std::optional<udp::socket> udp_;
    udp::endpoint sender_;
    std::array<char, 2048> datagram_{};
    std::thread thread_;
};

// The host of one replica: carries frames between the guest's tap and a link, on a thread of its own. It can do what a
// dying primary does: take frames that never reach the guest.
class ReplicaHost {
  public:
    ReplicaHost(const Guest& guest, const std::string& endpoint, SpeakerRank rank)
        : tap_(io_, ::dup(guest.tap())),
          link_(make_link(io_, {.endpoint = "gateway:" + endpoint, .vm = "kv", .mac = kMac, .format = guest.format()},
                          [this](const Frame& frame) { to_guest(frame); })) {
        link_->speak(rank);
        wait_for_guest();
        thread_ = std::thread([this] { io_.run(); });
    }
    // SIGKILL, as its peers see it: the kernel closes the socket, with whatever is unread in it.
    ~ReplicaHost() {
        io_.stop();
        thread_.join();
        link_.reset();
    }
    ReplicaHost(const ReplicaHost&) = delete;
    ReplicaHost& operator=(const ReplicaHost&) = delete;

    // From now on frames from the gateway are taken and lost: delivered, but never recorded. What the guest says stays
    // in the tap for the next host, which sends it: the outputs that had not been released.
    void stop_recording() {
        std::promise<void> done;
        asio::post(io_, [this, &done] {
            recording_ = false;
            tap_.cancel();
            done.set_value();
        });
        done.get_future().wait();
    }

    [[nodiscard]] std::uint64_t lost() const { return lost_; }

  private:
    void to_guest(const Frame& frame) {
        if (!recording_) {
            ++lost_;
            return;
        }
        [[maybe_unused]] const auto written = ::write(tap_.native_handle(), frame.data(), frame.size());
    }

    void wait_for_guest() {
        tap_.async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code error) {
            if (error || !recording_) {
                return;
            }
            std::vector<Frame> frames;
            Frame buffer(kMaxFrameBytes);
            while (frames.size() < 64) {
                const auto got = ::read(tap_.native_handle(), buffer.data(), buffer.size());
                if (got <= 0) {
                    break;
                }
                frames.emplace_back(buffer.begin(), buffer.begin() + got);
            }
            link_->send(frames);
            wait_for_guest();
        });
    }

    asio::io_context io_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
    asio::posix::stream_descriptor tap_;
    std::unique_ptr<Link> link_;
    std::atomic<std::uint64_t> lost_ = 0;
    bool recording_ = true;
    std::thread thread_;
};

// With a guest whose NIC speaks plain frames, and one whose NIC offloads.
class FailoverTest : public ::testing::TestWithParam<FrameFormat> {
  protected:
    void SetUp() override {
        if (const auto reason = testing::reason_to_skip(); !reason.empty()) {
            GTEST_SKIP() << reason;
        }
        guest_ = std::make_unique<Guest>(GetParam());
        gateway_ = std::make_unique<RunningGateway>(UserNetworkConfig{
            .forwards = {{.host_port = store_port_, .guest_port = kStorePort},
                         {.host_port = echo_port_, .guest_port = kEchoPort},
                         {.protocol = Forward::Protocol::udp, .host_port = udp_port_, .guest_port = kUdpPort}},
            .host_loopback = true});
    }

    std::unique_ptr<ReplicaHost> host(std::uint64_t generation, bool won = false) {
        return std::make_unique<ReplicaHost>(*guest_, gateway_->endpoint(),
                                             SpeakerRank{.generation = {generation}, .won = won});
    }

    std::uint16_t store_port_ = testing::free_port();
    std::uint16_t echo_port_ = testing::free_port();
    std::uint16_t udp_port_ = testing::free_port(SOCK_DGRAM);
    std::unique_ptr<Guest> guest_;
    std::unique_ptr<RunningGateway> gateway_;
};

TEST_P(FailoverTest, BulkDataComesThroughUnharmed) {
    const auto replica = host(1);
    asio::io_context io;
    tcp::socket client(io);
    client.connect({asio::ip::address_v4::loopback(), echo_port_});
    std::vector<char> sent(std::size_t{8} << 20);
    for (std::size_t i = 0; i < sent.size(); ++i) {
        sent[i] = static_cast<char>((i * 2654435761U) >> 24);
    }
    std::thread writer([&] { asio::write(client, asio::buffer(sent)); });
    std::vector<char> received(sent.size());
    asio::read(client, asio::buffer(received));
    writer.join();
    EXPECT_TRUE(sent == received);
}

TEST_P(FailoverTest, DatagramsAreForwarded) {
    const auto replica = host(1);
    asio::io_context io;
    udp::socket client(io, udp::endpoint(udp::v4(), 0));
    std::array<char, 64> buffer{};
    // Datagrams may be lost: ask until one comes back.
    pollfd entry{.fd = client.native_handle(), .events = POLLIN, .revents = 0};
    int tries = 0;
    do {
        ASSERT_LT(++tries, 50);
        client.send_to(asio::buffer("ping", 4), {asio::ip::address_v4::loopback(), udp_port_});
    } while (::poll(&entry, 1, 100) == 0);
    EXPECT_EQ(client.receive(asio::buffer(buffer)), 4U);
    EXPECT_EQ(std::string_view(buffer.data(), 4), "ping");
}

// Kills the primary under load again and again. Before each death the primary takes frames that it never records;
// libslirp's own retransmission of them would take a second and more.
TEST_P(FailoverTest, ConnectionsSurviveTheDeathOfEveryPrimary) {
    auto primary = host(1);
    tools::Verifier verifier({.server = "127.0.0.1:" + std::to_string(store_port_), .connections = 50, .rate = 2000});
    verifier.start();
    constexpr auto kUnrecorded = 20ms;  // of what the primary took before it died
    std::chrono::nanoseconds longest{0};
    for (std::uint64_t generation = 1; generation <= 10; ++generation) {
        const auto before = verifier.since_start().answers;
        while (verifier.since_start().answers < before + 200) {
            std::this_thread::sleep_for(1ms);
        }
        verifier.mark();
        primary->stop_recording();
        while (primary->lost() == 0) {
            std::this_thread::sleep_for(1ms);
        }
        std::this_thread::sleep_for(kUnrecorded);
        primary.reset();
        gateway_->wait_for_detached(generation);
        primary = host(generation + 1);
        const auto attached = gateway_->wait_for_attached(generation + 1);
        EXPECT_GT(attached.frames, 0U) << "nothing was lost, so nothing is shown";
        const auto after = verifier.since_mark().answers;
        while (verifier.since_mark().answers < after + 200) {
            std::this_thread::sleep_for(1ms);
        }
        longest = std::max(longest, verifier.since_mark().longest_gap);
    }
    EXPECT_TRUE(verifier.final_check());
    const auto figures = verifier.since_start();
    EXPECT_TRUE(figures.clean()) << figures.first_finding;
    const auto gap = std::chrono::duration_cast<std::chrono::milliseconds>(longest);
    RecordProperty("longest_gap_ms", static_cast<int>(gap.count()));
    std::cout << "longest gap of 10 takeovers, " << kUnrecorded.count() << " ms unrecorded in each: " << gap.count()
              << " ms\n";
}

// The old primary is alive and holds its connection, as after SIGSTOP: the new one takes over all the same.
TEST_P(FailoverTest, AStoppedPrimaryIsDeposed) {
    auto primary = host(1);
    tools::Verifier verifier({.server = "127.0.0.1:" + std::to_string(store_port_), .connections = 20, .rate = 2000});
    verifier.start();
    primary->stop_recording();
    const auto backup = host(1, true);
    const auto before = verifier.since_start().answers;
    while (verifier.since_start().answers < before + 500) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_TRUE(verifier.final_check());
    EXPECT_TRUE(verifier.since_start().clean()) << verifier.since_start().first_finding;
}

// Connections that are made while nobody is there for the guest are made in the end.
TEST_P(FailoverTest, ANewConnectionDuringAFailoverWaitsForTheNewPrimary) {
    host(1).reset();
    gateway_->wait_for_detached(1);
    asio::io_context io;
    tcp::socket client(io);
    client.connect({asio::ip::address_v4::loopback(), echo_port_});
    asio::write(client, asio::buffer("hello", 5));
    const auto replica = host(2);
    std::array<char, 5> answer{};
    asio::read(client, asio::buffer(answer));
    EXPECT_EQ(std::string_view(answer.data(), answer.size()), "hello");
}

INSTANTIATE_TEST_SUITE_P(EachNic, FailoverTest, ::testing::Values(FrameFormat::plain, FrameFormat::with_offload_header),
                         [](const auto& nic) { return nic.param == FrameFormat::plain ? "Plain" : "Offloading"; });

}  // namespace
}  // namespace understudy::network
