// echo, sink, source and spin, built natively; and spin's counted code on the host, trapped all the time.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

#include "guest/programs/bulk/pattern.hpp"
#include "tests/integration/guest/programs/server_process.hpp"
#include "tools/process/run.hpp"

namespace understudy::programs {
namespace {

using tools::Finished;
using tools::run_to_end;

const std::string kPrograms = UNDERSTUDY_BINARY_DIR "/programs/";

std::string pattern(std::size_t size) {
    const Pattern pattern;
    std::string bytes;
    while (bytes.size() < size) {
        bytes += pattern.at(bytes.size(), size - bytes.size());
    }
    return bytes;
}

TEST(Echo, SendsBackAStream) {
    const ServerProcess server(kPrograms + "native/echo");
    const std::string bytes = pattern(1'000'000);
    Client client(server.port());
    std::string echoed;
    for (std::size_t sent = 0; sent < bytes.size();) {
        const std::size_t count = client.send_some(std::string_view(bytes).substr(sent));
        sent += count;
        echoed += client.receive(count);
    }
    EXPECT_TRUE(echoed == bytes);
    client.send("last");
    client.end_sending();
    EXPECT_EQ(client.receive_all(), "last");
}

TEST(Echo, WaitsForAClientThatDoesNotRead) {
    const ServerProcess server(kPrograms + "native/echo");
    Client client(server.port());
    const std::string bytes = pattern(1 << 20);
    std::string sent;
    // Until neither direction takes any more: two sockets' buffers and the program's one.
    for (int full = 0; full < 50;) {
        const std::size_t count = client.send_some(std::string_view(bytes).substr(sent.size() % kPatternPeriod, 65536));
        sent += bytes.substr(sent.size() % kPatternPeriod, count);
        full = count == 0 ? full + 1 : 0;
        ASSERT_LT(sent.size(), std::size_t{200} << 20) << "the program takes without end";
        if (count == 0) {
            usleep(1000);
        }
    }
    client.end_sending();
    EXPECT_TRUE(client.receive_all() == sent);
}

TEST(Echo, SendsBackDatagrams) {
    const ServerProcess server(kPrograms + "native/echo");
    const int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    const timeval patience{10, 0};
    setsockopt(datagrams, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(datagrams, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    for (const std::size_t size : {1U, 100U, 1400U, 0U, 60'000U}) {
        const std::string sent = pattern(size);
        ASSERT_EQ(send(datagrams, sent.data(), sent.size(), 0), static_cast<ssize_t>(size));
        std::string received(65536, 0);
        const ssize_t count = recv(datagrams, received.data(), received.size(), 0);
        ASSERT_EQ(count, static_cast<ssize_t>(size));
        received.resize(size);
        EXPECT_TRUE(received == sent);
    }
    close(datagrams);
}

TEST(Source, SendsItsPatternAndEnds) {
    const ServerProcess server(kPrograms + "native/source", {"--bytes", "3000001"});
    Client first(server.port());
    Client second(server.port());
    EXPECT_TRUE(first.receive_all() == pattern(3'000'001));
    EXPECT_TRUE(second.receive_all() == pattern(3'000'001));
}

TEST(Source, GoesOnForAReceiverThatClosedItsOwnDirection) {
    const ServerProcess server(kPrograms + "native/source", {"--bytes", "500K"});
    Client client(server.port());
    client.end_sending();
    EXPECT_TRUE(client.receive_all() == pattern(std::size_t{500} * 1024));
}

TEST(Sink, ReportsWhatItReceived) {
    const ServerProcess server(kPrograms + "native/sink", {"--verify"});
    Client intact(server.port());
    intact.send(pattern(2'000'000));
    intact.end_sending();
    EXPECT_THAT(intact.receive_all(), testing::MatchesRegex("received 2000000 bytes in .* MB/s intact\n"));

    std::string bytes = pattern(2'000'000);
    bytes[1'234'567] = static_cast<char>(bytes[1'234'567] ^ 1);
    Client corrupt(server.port());
    corrupt.send(bytes);
    corrupt.end_sending();
    EXPECT_THAT(corrupt.receive_all(), testing::MatchesRegex("received 2000000 bytes in .* MB/s CORRUPT\n"));
}

// The lines of spin's output without the times.
std::string checksums(const std::vector<std::string>& command) {
    const Finished finished = run_to_end(command);
    EXPECT_EQ(finished.exit_status, 0) << finished.errors;
    std::string lines;
    for (std::size_t start = 0; start < finished.output.size();) {
        const std::size_t end = finished.output.find('\n', start);
        const std::string line = finished.output.substr(start, end - start);
        lines += line.substr(0, line.find(" elapsed_ns=")) + "\n";
        start = end + 1;
    }
    return lines;
}

TEST(Spin, ComputesTheSameCountedAndTrapped) {
    const std::string expected = checksums({kPrograms + "native/spin", "--rounds", "2"});
    EXPECT_THAT(expected, testing::HasSubstr("\ntotal rounds=2 checksum="));
    for (const std::string interval : {"1", "1009", "1000003"}) {
        EXPECT_EQ(checksums({"env", "UNDERSTUDY_TRAP_EVERY=" + interval, kPrograms + "hosted/spin", "--rounds", "2"}),
                  expected)
            << "a trap every " << interval << " counts";
    }
}

TEST(Spin, ObservesTheClock) {
    const Finished finished = run_to_end({kPrograms + "native/spin", "--observe-clock", "1000"});
    EXPECT_EQ(finished.exit_status, 0);
    EXPECT_THAT(finished.output, testing::StartsWith("clock samples=1000 advances="));
}

TEST(Spin, SaysWhatIsWrong) {
    const Finished finished = run_to_end({kPrograms + "native/spin", "--kernel", "none"});
    EXPECT_EQ(finished.exit_status, 2);
    EXPECT_EQ(finished.errors, "spin: --kernel none: unknown; --list shows what there is\n");
}

}  // namespace
}  // namespace understudy::programs
