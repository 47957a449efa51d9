// Real servers under a real load: killed, stopped, cut off, out of disk, restarted; afterwards every acknowledged
// decision stands and each generation has one winner.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <fstream>
#include <iterator>

#include "arbiter/client/client.hpp"
#include "arbiter/client/operate.hpp"
#include "arbiter/register/vm_register.hpp"
#include "arbiter/wire/protocol.hpp"
#include "common/address.hpp"
#include "common/bytes.hpp"
#include "common/message_stream.hpp"
#include "common/temporary_directory.hpp"
#include "tests/integration/arbiter/contest.hpp"
#include "tests/integration/arbiter/server_processes.hpp"
#include "tools/process/free_ports.hpp"
#include "tools/process/run.hpp"

namespace understudy::arbiter::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using tools::Finished;
using tools::run_to_end;

class Servers : public ::testing::Test {
  protected:
    // Takes the leader out and back again, `times` in all, while decisions must go on.
    template <typename Lose, typename Regain>
    void decide_without_the_leader(int times, Lose lose, Regain regain) {
        auto servers = ServerProcesses::on_loopback(directory_.path(), 3);
        servers.start_all();
        Contests contests(servers.url(), 8);
        ASSERT_TRUE(contests.advance(5));
        for (int i = 0; i < times; ++i) {
            const auto leader = servers.leader();
            ASSERT_NE(leader, 0U);
            lose(servers, leader);
            ASSERT_TRUE(contests.advance(5)) << "no decisions without the leader";
            regain(servers, leader);
            ASSERT_TRUE(contests.advance(5));
        }
        EXPECT_EQ(contests.verdict(), "");
    }

    TemporaryDirectory directory_;
};

TEST_F(Servers, LeaderKilledAgainAndAgain) {
    decide_without_the_leader(
        5, [](auto& servers, auto leader) { servers.kill(leader); },
        [](auto& servers, auto leader) { servers.start(leader); });
}

TEST_F(Servers, StoppedLeaderIsDeposedAndHarmlessWhenItGoesOn) {
    decide_without_the_leader(
        3, [](auto& servers, auto leader) { servers.signal(leader, SIGSTOP); },
        [](auto& servers, auto leader) { servers.signal(leader, SIGCONT); });
}

TEST_F(Servers, AllKilledAtOnce) {
    auto servers = ServerProcesses::on_loopback(directory_.path(), 3);
    for (int i = 0; i < 3; ++i) {
        servers.start_all();
        Contests contests(servers.url(), 1);  // vm0 goes on from round to round only within one contest
        contests.run_for(milliseconds(300));
        for (std::uint64_t id = 1; id <= 3; ++id) {
            servers.kill(id);
        }
        contests.run_for(milliseconds(100));
        servers.start_all();
        ASSERT_TRUE(contests.advance(5));
        EXPECT_EQ(contests.verdict(), "");
        for (std::uint64_t id = 1; id <= 3; ++id) {
            servers.kill(id);
        }
        for (std::uint64_t id = 1; id <= 3; ++id) {
            fs::remove_all(directory_.path() / fmt::format("data{}", id));
        }
    }
}

TEST_F(Servers, RollingRestartFailsNoRequest) {
    auto servers = ServerProcesses::on_loopback(directory_.path(), 3);
    servers.start_all();
    Contests contests(servers.url(), 8);
    ASSERT_TRUE(contests.advance(3));
    for (std::uint64_t id = 1; id <= 3; ++id) {
        servers.signal(id, SIGTERM);
        EXPECT_EQ(servers.wait(id), 0) << servers.log(id);
        ASSERT_TRUE(contests.advance(3));
        servers.start(id);
        ASSERT_TRUE(contests.advance(3));
    }
    EXPECT_EQ(contests.unknowns(), 0U);
    EXPECT_EQ(contests.verdict(), "");
}

TEST_F(Servers, MembersComeAndGo) {
    auto servers = ServerProcesses::on_loopback(directory_.path(), 3);
    servers.start_all();
    const auto url = servers.url();
    Contests contests(url, 4);
    ASSERT_TRUE(contests.advance(3));
    const auto address = fmt::format("127.0.0.1:{}", tools::free_port());
    servers.start_joining(4, {address, {}, directory_.path() / "data4", {}});
    const auto operate = [&](std::vector<std::string> words) {
        words.insert(words.begin(), {understudy(), "arbiter"});
        words.insert(words.end(), {"--arbiter", url});
        const auto finished = run_to_end(words);
        EXPECT_EQ(finished.exit_status, 0) << finished.errors;
    };
    operate({"snapshot"});
    operate({"add", "--id", "4", "--address", address});
    operate({"transfer", "--id", "1"});
    operate({"transfer", "--id", "1"});  // it leads already
    operate({"remove", "--id", "2"});
    servers.kill(2);
    ASSERT_TRUE(contests.advance(3));
    servers.kill(3);  // the majority of 1, 3 and 4 needs the new member
    ASSERT_TRUE(contests.advance(3));
    EXPECT_EQ(contests.verdict(), "");
}

// A claim is committed by two servers, of which one dies and the other loses its disk: with the third, which never
// heard of the claim, the one without memory would be a majority that grants it again.
TEST_F(Servers, AServerThatLostItsDiskIsNotBelieved) {
    auto servers = ServerProcesses::on_loopback(directory_.path(), 3);
    servers.start_all();
    ASSERT_NE(servers.leader(), 0U);
    servers.all_have_begun();
    const auto claim = [&](const ReplicaId& who, milliseconds patience) {
        boost::asio::io_context io;
        const auto client = connect(io, servers.url());
        Verdict verdict = Verdict::unknown;
        client->form({"vm", {0}, {1}, who, {who}}, patience, [&](const Outcome& outcome) {
            verdict = outcome.verdict;
            io.stop();
        });
        io.run_for(patience + milliseconds(5000));
        return verdict;
    };
    servers.kill(2);
    ASSERT_EQ(claim("first", milliseconds(30'000)), Verdict::yes);
    servers.kill(1);
    servers.kill(3);
    const auto data = servers.places().at(1).data;
    fs::remove_all(data);

    // The command of every day finds nothing, and does not begin anew.
    servers.start(1);
    EXPECT_EQ(servers.wait(1), 1);
    EXPECT_NE(servers.log(1).find("is empty. A server that has lost its data must not come back"), std::string::npos)
        << servers.log(1);

    // Nor does it help to insist: the others know that it is not who it was.
    fs::remove_all(data);
    servers.begin_anew();
    servers.start(1);
    servers.start(2);
    EXPECT_EQ(claim("second", milliseconds(3000)), Verdict::unknown);
    EXPECT_NE(servers.log(1).find("it has lost the data that it had"), std::string::npos) << servers.log(1);

    // The one that remembers is back: there is a majority, and the first claim stands. The other is replaced.
    servers.start(3);
    EXPECT_EQ(claim("second", milliseconds(30'000)), Verdict::no);
    const auto operate = [&](std::vector<std::string> words) {
        words.insert(words.begin(), {understudy(), "arbiter"});
        words.insert(words.end(), {"--arbiter", servers.url()});
        const auto finished = run_to_end(words);
        EXPECT_EQ(finished.exit_status, 0) << finished.errors;
    };
    operate({"remove", "--id", "1"});
    servers.kill(1);
    const auto address = fmt::format("127.0.0.1:{}", tools::free_port());
    servers.start_joining(4, {address, {}, directory_.path() / "data4", {}});
    operate({"add", "--id", "4", "--address", address});
    servers.kill(3);
    EXPECT_EQ(claim("second", milliseconds(30'000)), Verdict::no) << "of 2 and 4";
}

TEST_F(Servers, ADirectoryThatIsInUseIsNotBegunAnew) {
    auto servers = ServerProcesses::on_loopback(directory_.path(), 1);
    servers.start_all();
    ASSERT_NE(servers.leader(), 0U);
    servers.kill(1);
    servers.start(1);  // without --bootstrap
    ASSERT_NE(servers.leader(), 0U);
    servers.kill(1);
    const auto& place = servers.places().at(1);
    const auto again = run_to_end({understudy(), "arbiter", "serve", "--id", "1", "--data", place.data.string(),
                                   "--peer", "1=" + place.address, "--insecure", "--bootstrap"});
    EXPECT_EQ(again.exit_status, 1);
    EXPECT_NE(again.errors.find("leave out --bootstrap"), std::string::npos) << again.errors;
}

TEST_F(Servers, FullDiskStopsTheServerAndLosesNothing) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "mounting a small tmpfs needs root";
    }
    const auto small = directory_.path() / "small";
    fs::create_directories(small);
    if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=2m") != 0) {
        GTEST_SKIP() << "cannot mount a tmpfs here";
    }
    const std::shared_ptr<void> unmount(nullptr, [&](void*) { ::umount2(small.c_str(), MNT_DETACH); });
    auto places = ServerProcesses::on_loopback(directory_.path(), 3).places();
    places[3].data = small / "data";
    ServerProcesses servers(places, directory_.path(), "");
    servers.start_all();
    Contests contests(servers.url(), 8);
    ASSERT_TRUE(contests.advance(3));
    {
        std::ofstream filler(small / "filler");
        const std::string block(4096, 'x');
        for (int i = 0; i < 600 && filler << block << std::flush; ++i) {
        }
    }
    ASSERT_TRUE(contests.advance(100));
    EXPECT_EQ(servers.wait(3), 1);
    EXPECT_NE(servers.log(3).find("the disk is full"), std::string::npos) << servers.log(3);
    ASSERT_TRUE(contests.advance(3));
    fs::remove(small / "filler");
    servers.start(3);
    servers.kill(1);  // now the one that was full is needed
    ASSERT_TRUE(contests.advance(3)) << servers.log(3);
    EXPECT_EQ(contests.verdict(), "");
}

TEST_F(Servers, GarbageOnThePortHarmsNobody) {
    auto servers = ServerProcesses::on_loopback(directory_.path(), 3);
    servers.start_all();
    Contests contests(servers.url(), 2);
    ASSERT_TRUE(contests.advance(2));
    boost::asio::io_context io;
    for (const auto& garbage :
         {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100'000, '\xFF'), std::string(7, '\0'), std::string()}) {
        for (const auto& [id, place] : servers.places()) {
            const auto address = parse_address(place.address);
            boost::asio::ip::tcp::socket socket(io);
            socket.connect({boost::asio::ip::make_address(address.host), address.port});
            boost::system::error_code ignored;
            boost::asio::write(socket, boost::asio::buffer(garbage), ignored);
        }
    }
    ASSERT_TRUE(contests.advance(3));
    EXPECT_EQ(contests.verdict(), "");
}

// Who asks gets an answer, which ends the question: a client repeats one for as long as the servers hang up on it.
TEST_F(Servers, WhatIsOutOfBoundsIsAnswered) {
    auto servers = ServerProcesses::on_loopback(directory_.path(), 1);
    servers.start_all();
    ASSERT_NE(servers.leader(), 0U);
    const std::string name(300, 'x');
    const FormRequest form{"vm", {0}, {1}, "a", {"a", name}};

    const auto url = parse_url(servers.url());
    for (const VmOperation& operation :
         {VmOperation(form), VmOperation(TestAndSetRequest{"vm", {1}, name}), VmOperation(EndRequest{name, {1}, {}}),
          VmOperation(FormRequest{"vm", {0}, {1}, "a", std::vector<ReplicaId>(kMaxReplicas + 1, "a")})}) {
        const auto answer = ask_server(url, url.servers.front(), Submit{{1, 2}, 1, 0, operation}, milliseconds(10'000));
        ASSERT_TRUE(std::holds_alternative<Reply>(answer)) << std::get<std::string>(answer);
        const auto* found = std::get_if<Answer>(&std::get<Reply>(answer).body);
        ASSERT_NE(found, nullptr);
        EXPECT_EQ(found->reason, Reason::invalid);
    }
    EXPECT_TRUE(std::holds_alternative<Reply>(
        ask_server(url, url.servers.front(), AddServerRequest{2, "127.0.0.1:1" + name}, milliseconds(10'000))));

    boost::asio::io_context io;
    const auto client = connect(io, servers.url());
    std::vector<Outcome> outcomes;
    const auto note = [&](const Outcome& outcome) {
        outcomes.push_back(outcome);
        if (outcomes.size() == 3) {
            io.stop();
        }
    };
    client->form(form, milliseconds(60'000), note);
    client->form({std::string(std::size_t{2} << 20U, 'x'), {0}, {1}, "a", {"a"}}, milliseconds(60'000), note);
    client->read(name, milliseconds(60'000), note);
    EXPECT_TRUE(outcomes.empty());
    io.run_for(milliseconds(20'000));
    ASSERT_EQ(outcomes.size(), 3U);
    for (const auto& outcome : outcomes) {
        EXPECT_EQ(outcome.verdict, Verdict::no) << outcome.explanation;
    }
    EXPECT_TRUE(outcomes[0].malformed);
    EXPECT_TRUE(outcomes[1].malformed);
    EXPECT_FALSE(outcomes[2].malformed);
}

// Sockets to a port, connected and silent, or saying what is given.
std::vector<boost::asio::ip::tcp::socket> sockets_to(boost::asio::io_context& io, const std::string& where, int count,
                                                     const std::vector<std::byte>& say = {}) {
    const auto address = parse_address(where);
    std::vector<boost::asio::ip::tcp::socket> sockets;
    for (int i = 0; i < count; ++i) {
        sockets.emplace_back(io).connect({boost::asio::ip::make_address(address.host), address.port});
        boost::system::error_code ignored;
        boost::asio::write(sockets.back(), boost::asio::buffer(say), ignored);
    }
    return sockets;
}

TEST_F(Servers, StrangersCannotTakeTheDescriptorsThatConsensusNeeds) {
    auto places = ServerProcesses::on_loopback(directory_.path(), 3).places();
    std::vector<std::string> pages;
    for (auto& [id, place] : places) {
        pages.push_back(fmt::format("127.0.0.1:{}", tools::free_port()));
        place.prefix = {"prlimit", "--nofile=100"};
        place.more = {"--metrics", pages.back(), "--snapshot-after", "10"};
    }
    ServerProcesses servers(places, directory_.path(), "");
    servers.start_all();
    Contests contests(servers.url(), 4);
    ASSERT_TRUE(contests.advance(3));

    std::vector<std::byte> hello;
    append_message(hello,
                   as_bytes(encode_message(Hello{kProtocolVersion, Hello::Kind::client, 0, "understudy", 0, 0})));
    boost::asio::io_context io;
    std::vector<std::vector<boost::asio::ip::tcp::socket>> strangers;
    for (const auto& [id, place] : places) {
        strangers.push_back(sockets_to(io, place.address, 60));
        strangers.push_back(sockets_to(io, pages[id - 1], 60));
    }
    std::optional<Verdict> read;
    const auto client = connect(io, servers.url());
    client->read("vm0", milliseconds(20'000), [&](const Outcome& outcome) {
        read = outcome.verdict;
        io.stop();
    });
    io.run_for(milliseconds(30'000));
    EXPECT_EQ(read, Verdict::yes) << "a new client among silent connections";
    for (const auto& [id, place] : places) {
        strangers.push_back(sockets_to(io, place.address, 100, hello));
    }
    ASSERT_TRUE(contests.advance(50)) << "snapshots beside clients that ask nothing";
    strangers.clear();
    for (std::uint64_t id = 1; id <= 3; ++id) {
        EXPECT_EQ(servers.log(id).find("Too many open files"), std::string::npos) << servers.log(id);
    }
    ASSERT_TRUE(contests.advance(3));
    EXPECT_EQ(contests.verdict(), "");
}

TEST_F(Servers, MetricsAreServed) {
    auto places = ServerProcesses::on_loopback(directory_.path(), 1).places();
    const auto port = tools::free_port();
    places[1].more = {"--metrics", fmt::format("127.0.0.1:{}", port)};
    ServerProcesses servers(places, directory_.path(), "");
    servers.start_all();
    Contests contests(servers.url(), 1);
    ASSERT_TRUE(contests.advance(3));
    boost::asio::io_context io;
    boost::asio::ip::tcp::socket socket(io);
    socket.connect({boost::asio::ip::make_address("127.0.0.1"), port});
    boost::asio::write(socket, boost::asio::buffer(std::string("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")));
    std::string page;
    boost::system::error_code end;
    boost::asio::read(socket, boost::asio::dynamic_buffer(page), end);
    EXPECT_NE(page.find("\nunderstudy_arbiter_is_leader 1\n"), std::string::npos) << page;
    EXPECT_NE(page.find("\nunderstudy_arbiter_vms 1\n"), std::string::npos);
}

TEST_F(Servers, WithoutTheRightCertificateNobodyIsServed) {
    const auto tls = (directory_.path() / "tls").string();
    const auto foreign = (directory_.path() / "foreign").string();
    for (const auto& out : {tls, foreign}) {
        const auto made = run_to_end({understudy(), "init", "--out", out, "--arbiter", "1", "--host", "test=*",
                                      "--host", "other=mail", "--client", "c", "--operator", "o"});
        ASSERT_EQ(made.exit_status, 0) << made.errors;
    }
    auto places = ServerProcesses::on_loopback(directory_.path(), 1).places();
    const auto metrics = tools::free_port();
    places[1].more = {"--metrics", fmt::format("127.0.0.1:{}", metrics)};
    ServerProcesses servers(places, directory_.path(), tls);
    servers.start_all();
    {
        Contests contests(servers.url(), 1);
        ASSERT_TRUE(contests.advance(2)) << servers.log(1);
        EXPECT_EQ(contests.verdict(), "");
    }
    const auto plain = "raft://" + places[1].address;
    const auto stranger = plain + "?tls=" + foreign + "/host-test";
    for (const auto& url : {plain, stranger}) {
        boost::asio::io_context io;
        const auto client = connect(io, url);
        std::optional<Verdict> verdict;
        client->read("vm0", milliseconds(600), [&](const Outcome& outcome) { verdict = outcome.verdict; });
        io.run_for(milliseconds(5000));
        EXPECT_EQ(verdict, Verdict::unknown) << url;
    }
    const auto scrape = [&](const std::string& words) {
        return run_to_end(
            {"sh", "-c",
             fmt::format("curl -sS --max-time 10 --resolve arbiter-1:{0}:127.0.0.1 --cacert {1}/ca.pem {2} "
                         "https://arbiter-1:{0}/metrics",
                         metrics, tls, words)});
    };
    const auto page = scrape(fmt::format("--cert {0}/client-c.pem --key {0}/client-c.key", tls));
    EXPECT_NE(page.output.find("\nunderstudy_arbiter_is_leader 1\n"), std::string::npos) << page.errors;
    EXPECT_NE(scrape("").exit_status, 0) << "without a certificate";
    const auto as = [&](const std::string& name) { return fmt::format("{}?tls={}/{}", plain, tls, name); };
    const auto removal = run_to_end({understudy(), "arbiter", "remove", "--id", "9", "--arbiter", as("client-c")});
    EXPECT_NE(removal.exit_status, 0);
    EXPECT_NE(removal.errors.find("operator's certificate"), std::string::npos) << removal.errors;
    EXPECT_EQ(run_to_end({understudy(), "arbiter", "dump", "--arbiter", as("client-c")}).exit_status, 0);
    for (const auto* name : {"client-c", "operator-o", "host-other"}) {
        boost::asio::io_context io;
        const auto client = connect(io, as(name));
        std::optional<Outcome> outcome;
        client->form({"vm1", {0}, {1}, "r", {"r"}}, milliseconds(2000), [&](const Outcome& o) {
            outcome = o;
            io.stop();
        });
        io.run_for(milliseconds(5000));
        ASSERT_TRUE(outcome) << name;
        EXPECT_EQ(outcome->verdict, Verdict::unknown) << name;
        EXPECT_NE(outcome->explanation.find("not those of a host for VM vm1"), std::string::npos)
            << outcome->explanation;
    }
}

Finished shell(const std::string& command) {
    return run_to_end({"sh", "-c", command});
}

// Three network namespaces on one bridge, which is in this one; nftables cuts them from each other.
class Namespaces {
  public:
    Namespaces() {
        std::string setup = fmt::format(
            "set -e; ip link add {0} type bridge; ip addr add 10.77.{1}.254/24 dev {0}; ip link set {0} up; ", bridge_,
            net_);
        for (std::uint64_t id = 1; id <= 3; ++id) {
            setup += fmt::format(
                "ip netns add {0}; ip link add uav{1}{2} type veth peer name eth0 netns {0}; "
                "ip link set uav{1}{2} master {3} up; ip -n {0} addr add {4}/24 dev eth0; "
                "ip -n {0} link set eth0 up; ip -n {0} link set lo up; ",
                name(id), id, tag_, bridge_, host(id));
        }
        made_ = shell(setup);
    }
    ~Namespaces() {
        for (std::uint64_t id = 1; id <= 3; ++id) {
            static_cast<void>(shell("ip netns del " + name(id)));
        }
        static_cast<void>(shell("ip link del " + bridge_));
    }
    Namespaces(const Namespaces&) = delete;
    Namespaces& operator=(const Namespaces&) = delete;

    [[nodiscard]] const Finished& made() const { return made_; }
    [[nodiscard]] std::string name(std::uint64_t id) const { return fmt::format("uas{}{}", id, tag_); }
    [[nodiscard]] std::string host(std::uint64_t id) const { return fmt::format("10.77.{}.{}", net_, id); }

    // Cuts one off from the others: `chains` says whether from what they say ("input"), or they from what it says
    // ("output"), or both.
    [[nodiscard]] Finished cut(std::uint64_t one, const std::string& chains) const {
        std::string rules = fmt::format("ip netns exec {} sh -c 'nft add table ip cut", name(one));
        for (const std::string chain : {"input", "output"}) {
            if (chains.find(chain) == std::string::npos) {
                continue;
            }
            rules += fmt::format("; nft add chain ip cut {0} {{ type filter hook {0} priority 0 \\; }}", chain);
            for (std::uint64_t id = 1; id <= 3; ++id) {
                if (id != one) {
                    rules += fmt::format("; nft add rule ip cut {} ip {} {} drop", chain,
                                         chain == "input" ? "saddr" : "daddr", host(id));
                }
            }
        }
        return shell(rules + "'");
    }
    [[nodiscard]] Finished heal(std::uint64_t one) const {
        return shell(fmt::format("ip netns exec {} nft delete table ip cut", name(one)));
    }

  private:
    const std::string tag_ = std::to_string(::getpid());
    const std::string bridge_ = "uab" + tag_;
    const int net_ = 64 + static_cast<int>(::getpid() % 128);
    Finished made_;
};

TEST_F(Servers, PartitionsByNftables) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "network namespaces need root";
    }
    const Namespaces network;
    if (network.made().exit_status != 0) {
        GTEST_SKIP() << "cannot make network namespaces here: " << network.made().errors;
    }
    const auto tls = (directory_.path() / "tls").string();
    ASSERT_EQ(
        run_to_end({understudy(), "init", "--out", tls, "--arbiter", "1", "2", "3", "--host", "test=*"}).exit_status,
        0);
    std::map<std::uint64_t, ServerProcesses::Place> places;
    for (std::uint64_t id = 1; id <= 3; ++id) {
        places[id] = {network.host(id) + ":7001",
                      {"ip", "netns", "exec", network.name(id)},
                      directory_.path() / fmt::format("data{}", id),
                      {}};
    }
    ServerProcesses servers(places, directory_.path(), tls);
    servers.start_all();
    Contests contests(servers.url(), 4);
    ASSERT_TRUE(contests.advance(3)) << servers.log(1);
    for (const std::string chains : {"input output", "input", "output"}) {
        const auto leader = servers.leader();
        ASSERT_NE(leader, 0U);
        const auto cut = network.cut(leader, chains);
        ASSERT_EQ(cut.exit_status, 0) << cut.errors;
        ASSERT_TRUE(contests.advance(5)) << "no decisions while the leader's " << chains << " was cut";
        const auto healed = network.heal(leader);
        ASSERT_EQ(healed.exit_status, 0) << healed.errors;
        ASSERT_TRUE(contests.advance(5));
    }
    EXPECT_EQ(contests.verdict(), "");
}

}  // namespace
}  // namespace understudy::arbiter::testing
