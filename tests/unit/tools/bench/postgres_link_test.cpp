// A client of a server that is not there, ends, is silent, refuses, or answers.
#include "tools/bench/postgres_link.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/unit/tools/error_of.hpp"
#include "tools/bench/refused.hpp"
#include "tools/process/free_ports.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;

std::string big_endian(std::uint32_t value, unsigned bytes) {
    std::string text;
    for (unsigned i = bytes; i-- > 0;) {
        text += static_cast<char>(value >> (8 * i));
    }
    return text;
}

// A message of the protocol: type, length, body.
std::string message(char type, const std::string& body) {
    return type + big_endian(static_cast<std::uint32_t>(body.size() + 4), 4) + body;
}

std::string value(const std::string& text) {
    return message('D', big_endian(1, 2) + big_endian(static_cast<std::uint32_t>(text.size()), 4) + text);
}

std::string error(const std::string& severity, const std::string& text) {
    using namespace std::string_literals;
    return message('E', "S" + severity + "\0V"s + severity + "\0CXX000\0M"s + text + "\0\0"s);
}

const std::string kReady = message('Z', "I");
const std::string kWelcome = message('R', big_endian(0, 4)) + kReady;
const std::string kParsed = message('1', "") + message('2', "");
const std::string kColumn =
    message('T', big_endian(1, 2) + std::string("n\0", 2) + big_endian(0, 4) + big_endian(0, 2) + big_endian(25, 4) +
                     big_endian(0xffff, 2) + big_endian(0xffffffff, 4) + big_endian(0, 2));
const std::string kNull = message('D', big_endian(1, 2) + big_endian(0xffffffff, 4));
const std::string kDone = message('C', std::string("SELECT 2\0", 9)) + kReady;

// Says one thing after the other to the first who connects, each when it is asked something, and then ends the
// connection, or waits until the other side does.
class Server {
  public:
    Server(std::vector<std::string> says, bool stays)
        : thread_([this, says = std::move(says), stays] {
              tcp::socket client = acceptor_.accept();
              boost::system::error_code error;
              std::array<char, 1024> bytes{};
              for (const std::string& one : says) {
                  client.read_some(boost::asio::buffer(bytes), error);
                  boost::asio::write(client, boost::asio::buffer(one), error);
              }
              while (stays && !error) {
                  client.read_some(boost::asio::buffer(bytes), error);
              }
          }) {}
    ~Server() { thread_.join(); }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    [[nodiscard]] Address address() const { return {"127.0.0.1", acceptor_.local_endpoint().port()}; }

  private:
    boost::asio::io_context io_;
    tcp::acceptor acceptor_{io_, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)};
    std::thread thread_;
};

TEST(PostgresLink, HasTheFirstColumn) {
    Server server({kWelcome, kParsed + kColumn + value("7") + kNull + kDone}, true);
    PostgresLink link(server.address(), 10s);
    EXPECT_THAT(link.ask("select $1", {"a"}), ElementsAre("7", std::nullopt));
}

TEST(PostgresLink, GoesOnWhenAStatementIsRefused) {
    Server server({kWelcome, error("ERROR", "read-only\ntransaction") + kReady, kParsed + kColumn + value("7") + kDone},
                  true);
    PostgresLink link(server.address(), 10s);
    EXPECT_THROW(
        {
            try {
                link.ask("insert");
            } catch (const Refused& refused) {
                EXPECT_STREQ(refused.what(), "ERROR:  read-only transaction");
                throw;
            }
        },
        Refused);
    EXPECT_THAT(link.ask("select"), ElementsAre("7"));
}

TEST(PostgresLink, SaysThatNobodyListens) {
    const Address nobody{"127.0.0.1", free_port()};
    EXPECT_THAT(error_of([&] { const PostgresLink link(nobody, 10s); }), HasSubstr("refused"));
    EXPECT_THAT(error_of([] { const PostgresLink link({"localhost", 1}, 10s); }), HasSubstr("localhost"));
}

TEST(PostgresLink, SaysThatTheServerEndsOrIsSilent) {
    const auto trouble = [](const std::vector<std::string>& says, bool stays, std::chrono::milliseconds patience) {
        Server server(says, stays);
        return error_of([&] {
            PostgresLink link(server.address(), patience);
            link.ask("select 1");
        });
    };
    EXPECT_THAT(trouble({error("FATAL", "starting up")}, false, 10s), HasSubstr("starting up"));
    EXPECT_THAT(trouble({kWelcome, kParsed + kColumn}, false, 10s), HasSubstr("closed the connection"));
    EXPECT_THAT(trouble({""}, true, 50ms), HasSubstr("waited 50 ms for a connection"));
    EXPECT_THAT(trouble({kWelcome, kParsed}, true, 200ms), HasSubstr("waited 200 ms for an answer"));
}

// Who is told so has a connection no more.
TEST(PostgresLink, AnEndThatIsAnnouncedIsNoRefusal) {
    Server server({kWelcome, error("FATAL", "terminating connection")}, false);
    PostgresLink link(server.address(), 10s);
    try {
        link.ask("insert");
        ADD_FAILURE() << "there was no answer";
    } catch (const Refused& refused) {
        ADD_FAILURE() << refused.what();
    } catch (const Error& ended) {
        EXPECT_THAT(ended.what(), HasSubstr(server.address().text()));
    }
}

TEST(PostgresLink, StopsWaiting) {
    Server server({""}, true);
    std::atomic<bool> stopped = true;
    EXPECT_EQ(error_of([&] { const PostgresLink link(server.address(), 1h, &stopped); }), "stopped");
}

}  // namespace
}  // namespace understudy::tools
