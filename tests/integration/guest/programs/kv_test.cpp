// kv, built natively, as its clients see it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/integration/guest/programs/server_process.hpp"
#include "tools/process/run.hpp"

namespace understudy::programs {
namespace {

using tools::Finished;
using tools::run_to_end;

const std::string kKv = UNDERSTUDY_BINARY_DIR "/programs/native/kv";

// A request as clients send it.
std::string request(const std::vector<std::string>& arguments) {
    std::string bytes = "*" + std::to_string(arguments.size()) + "\r\n";
    for (const std::string& argument : arguments) {
        bytes += "$" + std::to_string(argument.size()) + "\r\n" + argument + "\r\n";
    }
    return bytes;
}

std::string bulk(const std::string& text) {
    return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

class Kv : public testing::Test {
  protected:
    std::string ask(const std::vector<std::string>& arguments, const std::string& expected) {
        client_.send(request(arguments));
        return client_.receive(expected.size());
    }
    std::string ask_line(const std::vector<std::string>& arguments) {
        client_.send(request(arguments));
        return client_.receive_line();
    }
    std::int64_t info(const std::string& name) {
        client_.send(request({"INFO"}));
        const std::string length = client_.receive_line();
        const std::string text = client_.receive(std::stoul(length.substr(1)) + 2);
        const std::size_t start = text.find(name + ":");
        return std::stoll(text.substr(start + name.size() + 1));
    }

    ServerProcess server_{kKv, {"--max-memory", "64M", "--max-value", "1M", "--max-clients", "1100"}};
    Client client_{server_.port()};
};

// Each step is a request and its whole reply.
struct Step {
    std::vector<std::string> request;
    std::string reply;
};

const std::vector<Step>& conversation() {
    static const std::vector<Step> steps{
        {{"PING"}, "+PONG\r\n"},
        {{"ping", "hi"}, bulk("hi")},
        {{"ECHO", "a\r\nb"}, bulk("a\r\nb")},
        {{"SET", "k", "v"}, "+OK\r\n"},
        {{"GET", "k"}, bulk("v")},
        {{"GET", "none"}, "$-1\r\n"},
        {{"SET", "k", "w", "NX"}, "$-1\r\n"},
        {{"SET", "k", "w", "XX", "GET"}, bulk("v")},
        {{"SET", "new", "w", "XX"}, "$-1\r\n"},
        {{"SET", "k", "x", "NX", "XX"}, "-ERR syntax error\r\n"},
        {{"SET", "k", "x", "EX", "0"}, "-ERR invalid expire time in 'SET' command\r\n"},
        {{"SET", "k", "x", "EX", "9223372036854775807"}, "-ERR invalid expire time in 'SET' command\r\n"},
        {{"SET", "k", "x", "EX"}, "-ERR syntax error\r\n"},
        {{"SET", "t", "1", "EX", "100"}, "+OK\r\n"},
        {{"TTL", "t"}, ":100\r\n"},
        {{"SET", "t", "2", "KEEPTTL"}, "+OK\r\n"},
        {{"TTL", "t"}, ":100\r\n"},
        {{"INCR", "t"}, ":3\r\n"},
        {{"TTL", "t"}, ":100\r\n"},
        {{"PERSIST", "t"}, ":1\r\n"},
        {{"PERSIST", "t"}, ":0\r\n"},
        {{"TTL", "t"}, ":-1\r\n"},
        {{"TTL", "none"}, ":-2\r\n"},
        {{"EXPIRE", "t", "50"}, ":1\r\n"},
        {{"SET", "t", "fresh"}, "+OK\r\n"},
        {{"TTL", "t"}, ":-1\r\n"},
        {{"EXPIRE", "t", "-1"}, ":1\r\n"},
        {{"EXISTS", "t", "k", "k"}, ":2\r\n"},
        {{"SETEX", "t", "10", "v"}, "+OK\r\n"},
        {{"PTTL", "none"}, ":-2\r\n"},
        {{"GETSET", "t", "w"}, bulk("v")},
        {{"TTL", "t"}, ":-1\r\n"},
        {{"GETDEL", "t"}, bulk("w")},
        {{"DEL", "t", "k"}, ":1\r\n"},
        {{"INCRBY", "n", "9223372036854775807"}, ":9223372036854775807\r\n"},
        {{"INCR", "n"}, "-ERR increment or decrement would overflow\r\n"},
        {{"DECRBY", "n", "-9223372036854775808"}, "-ERR decrement would overflow\r\n"},
        {{"DECR", "m"}, ":-1\r\n"},
        {{"INCRBY", "m", "1x"}, "-ERR value is not an integer or out of range\r\n"},
        {{"MSET", "a", "1", "b", "2"}, "+OK\r\n"},
        {{"MSET", "a", "1", "b"}, "-ERR wrong number of arguments for 'MSET' command\r\n"},
        {{"MSETNX", "c", "1", "b", "3"}, ":0\r\n"},
        {{"MGET", "a", "none", "b"}, "*3\r\n" + bulk("1") + "$-1\r\n" + bulk("2")},
        {{"APPEND", "a", "23"}, ":3\r\n"},
        {{"STRLEN", "a"}, ":3\r\n"},
        {{"STRLEN", "none"}, ":0\r\n"},
        {{"GETRANGE", "a", "-2", "-1"}, bulk("23")},
        {{"TYPE", "a"}, "+string\r\n"},
        {{"KEYS", "[ab]"}, "*2\r\n"},  // in whatever order
    };
    return steps;
}

TEST_F(Kv, AnswersAsTheProtocolSays) {
    for (const Step& step : conversation()) {
        EXPECT_EQ(ask(step.request, step.reply), step.reply) << testing::PrintToString(step.request);
    }
}

TEST_F(Kv, KeepsCollections) {
    const std::vector<Step> steps{
        {{"RPUSH", "l", "b", "c"}, ":2\r\n"},
        {{"LPUSH", "l", "a"}, ":3\r\n"},
        {{"LRANGE", "l", "0", "-1"}, "*3\r\n" + bulk("a") + bulk("b") + bulk("c")},
        {{"LRANGE", "l", "5", "9"}, "*0\r\n"},
        {{"LRANGE", "l", "-9223372036854775808", "0"}, "*1\r\n" + bulk("a")},
        {{"LINDEX", "l", "-1"}, bulk("c")},
        {{"LTRIM", "l", "1", "-1"}, "+OK\r\n"},
        {{"LLEN", "l"}, ":2\r\n"},
        {{"GET", "l"}, "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"},
        {{"LPOP", "l"}, bulk("b")},
        {{"RPOP", "l", "5"}, "*1\r\n" + bulk("c")},
        {{"EXISTS", "l"}, ":0\r\n"},
        {{"LPOP", "l"}, "$-1\r\n"},
        {{"LPOP", "l", "1"}, "*-1\r\n"},
        {{"LPOP", "l", "-1"}, "-ERR value is out of range, must be positive\r\n"},
        {{"SADD", "s", "x", "x", "y"}, ":2\r\n"},
        {{"SISMEMBER", "s", "x"}, ":1\r\n"},
        {{"SREM", "s", "x", "z"}, ":1\r\n"},
        {{"SMEMBERS", "s"}, "*1\r\n" + bulk("y")},
        {{"SPOP", "s"}, bulk("y")},
        {{"SCARD", "s"}, ":0\r\n"},
        {{"HSET", "h", "f", "1", "g", "2"}, ":2\r\n"},
        {{"HSET", "h", "f", "3"}, ":0\r\n"},
        {{"HGET", "h", "f"}, bulk("3")},
        {{"HMGET", "h", "f", "none"}, "*2\r\n" + bulk("3") + "$-1\r\n"},
        {{"HINCRBY", "h", "f", "-5"}, ":-2\r\n"},
        {{"HDEL", "h", "g"}, ":1\r\n"},
        {{"HGETALL", "h"}, "*2\r\n" + bulk("f") + bulk("-2")},
        {{"HLEN", "h"}, ":1\r\n"},
        {{"ZADD", "z", "2", "b", "1", "a", "2", "c"}, ":3\r\n"},
        {{"ZADD", "z", "0.5", "c"}, ":0\r\n"},
        {{"ZADD", "z", "nan", "c"}, "-ERR value is not a valid float\r\n"},
        {{"ZRANGE", "z", "0", "-1", "WITHSCORES"},
         "*6\r\n" + bulk("c") + bulk("0.5") + bulk("a") + bulk("1") + bulk("b") + bulk("2")},
        {{"ZSCORE", "z", "b"}, bulk("2")},
        {{"ZPOPMIN", "z"}, "*2\r\n" + bulk("c") + bulk("0.5")},
        {{"ZPOPMAX", "z", "9"}, "*4\r\n" + bulk("b") + bulk("2") + bulk("a") + bulk("1")},
        {{"DBSIZE"}, ":1\r\n"},
        {{"RENAME", "h", "i"}, "+OK\r\n"},
        {{"TYPE", "i"}, "+hash\r\n"},
        {{"FLUSHALL"}, "+OK\r\n"},
        {{"DBSIZE"}, ":0\r\n"},
    };
    for (const Step& step : steps) {
        EXPECT_EQ(ask(step.request, step.reply), step.reply) << testing::PrintToString(step.request);
    }
}

TEST_F(Kv, RefusesWhatItDoesNotKnow) {
    EXPECT_EQ(ask_line({"NOSUCH"}), "-ERR unknown command 'NOSUCH'");
    EXPECT_EQ(ask_line({"no\r\nsuch"}), "-ERR unknown command 'no  such'");
    EXPECT_EQ(ask_line({"GET"}), "-ERR wrong number of arguments for 'GET' command");
    EXPECT_EQ(ask_line({"SELECT", "1"}), "-ERR DB index is out of range");
    EXPECT_EQ(ask_line({"HELLO", "3"}), "-NOPROTO unsupported protocol version");
    EXPECT_EQ(ask_line({"SELECT", "0"}), "+OK");
}

TEST_F(Kv, ReadsRequestsInPiecesOfAnySize) {
    std::string bytes;
    std::string replies;
    for (const Step& step : conversation()) {
        if (step.request[0] != "KEYS") {
            bytes += request(step.request);
            replies += step.reply;
        }
    }
    for (const std::size_t piece : {1U, 2U, 7U, 64U}) {
        EXPECT_EQ(ask_line({"FLUSHALL"}), "+OK");
        for (std::size_t i = 0; i < bytes.size(); i += piece) {
            client_.send(std::string_view(bytes).substr(i, piece));
        }
        EXPECT_EQ(client_.receive(replies.size()), replies) << "in pieces of " << piece;
    }
}

TEST_F(Kv, ReadsInlineRequests) {
    client_.send("\r\n  PING\r\nSET a \"two \\n words\"\nGET a\r\nECHO 'x \"y\"'\r\n");
    const std::string expected = "+PONG\r\n+OK\r\n" + bulk("two \n words") + bulk("x \"y\"");
    EXPECT_EQ(client_.receive(expected.size()), expected);
    client_.send("GET \"a\r\n");
    EXPECT_EQ(client_.receive_all(), "-ERR Protocol error: unbalanced quotes in request\r\n");
}

TEST_F(Kv, AnswersALongPipeline) {
    constexpr int kRequests = 50'000;
    std::string bytes;
    for (int i = 0; i < kRequests; ++i) {
        bytes += request({"INCR", "counter"});
    }
    std::string replies;
    for (int i = 1; i <= kRequests; ++i) {
        replies += ":" + std::to_string(i) + "\r\n";
    }
    client_.send(bytes);
    EXPECT_EQ(client_.receive(replies.size()), replies);
}

TEST_F(Kv, EndsAConnectionThatBreaksTheProtocol) {
    const std::vector<std::pair<std::string, std::string>> breaches{
        {"*1\r\n:1\r\n", "expected '$', got ':'"},
        {"*x\r\n", "invalid multibulk length"},
        {"*99999999\r\n", "invalid multibulk length"},
        {"*1\n$4\r\nPING\r\n", "invalid multibulk length"},
        {"*1\r\n$-1\r\n", "invalid bulk length"},
        {"*1\r\n$1048577\r\n", "invalid bulk length"},
        {"*1\r\n$4\r\nPINGPONG", "an argument is longer than its length says"},
        {"*" + std::string(100, '1'), "too long a length"},
        {std::string(70'000, 'x'), "too big inline request"},
    };
    for (const auto& [bytes, error] : breaches) {
        Client client(server_.port());
        client.send(request({"PING"}) + bytes);
        EXPECT_THAT(client.receive_all(), testing::StartsWith("+PONG\r\n-ERR Protocol error: " + error));
    }
    EXPECT_EQ(ask_line({"PING"}), "+PONG");
}

TEST_F(Kv, SurvivesGarbage) {
    for (unsigned seed = 0; seed < 200; ++seed) {
        std::mt19937 random(seed);
        std::string bytes;
        for (auto i = random() % 2000; i > 0; --i) {
            // Mostly what the protocol is made of, so that the parser gets somewhere.
            const std::string_view alphabet = "*$\r\n0123456789GETSPING \"'\\";
            bytes += random() % 8 == 0 ? static_cast<char>(random()) : alphabet[random() % alphabet.size()];
        }
        Client client(server_.port());
        client.send(bytes);
        client.end_sending();
        client.receive_all();
        ASSERT_TRUE(server_.is_running()) << "seed " << seed;
    }
    EXPECT_EQ(ask_line({"PING"}), "+PONG");
}

TEST_F(Kv, AnswersAHalfClosedConnection) {
    client_.send(request({"SET", "k", "v"}) + request({"GET", "k"}) + "*2\r\n$3\r\nGE");
    client_.end_sending();
    EXPECT_EQ(client_.receive_all(), "+OK\r\n" + bulk("v"));
}

TEST_F(Kv, QuitEndsTheConnectionAndWhatFollows) {
    client_.send(request({"SET", "k", "v"}) + request({"QUIT"}) + request({"SET", "k", "w"}));
    EXPECT_EQ(client_.receive_all(), "+OK\r\n+OK\r\n");
    Client other(server_.port());
    other.send(request({"GET", "k"}));
    EXPECT_EQ(other.receive(7), bulk("v"));
}

TEST_F(Kv, HoldsLittleForAClientThatDoesNotRead) {
    const std::string value(std::size_t{512} * 1024, 'x');
    ASSERT_EQ(ask_line({"SET", "big", value}), "+OK");
    const std::int64_t before = info("used_memory");
    Client slow(server_.port());
    constexpr std::size_t kRequests = 400;  // 200 MiB of replies
    for (std::size_t i = 0; i < kRequests; ++i) {
        slow.send(request({"GET", "big"}));
    }
    EXPECT_EQ(ask_line({"PING"}), "+PONG") << "others are served meanwhile";
    EXPECT_LT(info("used_memory") - before, 8 << 20);
    for (std::size_t i = 0; i < kRequests; ++i) {
        ASSERT_EQ(slow.receive(bulk(value).size()), bulk(value));
    }
}

TEST_F(Kv, RefusesToGrowBeyondItsMemory) {
    const std::string value(1 << 20, 'x');
    std::string reply = "+OK";
    int accepted = 0;
    for (; reply == "+OK" && accepted < 100; ++accepted) {
        reply = ask_line({"SET", "k" + std::to_string(accepted), value});
    }
    EXPECT_EQ(reply, "-OOM command not allowed when used memory > 'maxmemory'.");
    EXPECT_GT(accepted, 50);
    EXPECT_EQ(ask_line({"DEL", "k0", "k1", "k2"}), ":3");
    EXPECT_EQ(ask_line({"SET", "k0", "small"}), "+OK");
    EXPECT_EQ(ask_line({"FLUSHALL"}), "+OK");
    EXPECT_LT(info("used_memory"), 4 << 20) << "memory is given back";
}

TEST_F(Kv, ExpiresKeys) {
    ASSERT_EQ(ask_line({"SET", "short", "v", "PX", "30"}), "+OK");
    ASSERT_EQ(ask_line({"SET", "long", "v", "EX", "1000"}), "+OK");
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (ask_line({"EXISTS", "short"}) == ":1") {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    }
    EXPECT_EQ(ask_line({"DBSIZE"}), ":1");
}

TEST_F(Kv, ServesAThousandConnections) {
    std::vector<Client> clients;
    for (int i = 0; i < 1000; ++i) {
        clients.emplace_back(server_.port());
        clients.back().send(request({"INCR", "connections"}));
    }
    for (auto& client : clients) {
        EXPECT_EQ(client.receive(1), ":");
    }
    EXPECT_EQ(ask_line({"GET", "connections"}), "$4");
    EXPECT_EQ(client_.receive_line(), "1000");
    EXPECT_EQ(info("connected_clients"), 1001);
    for (int i = 0; i < 99; ++i) {
        clients.emplace_back(server_.port());
    }
    Client one_too_many(server_.port());
    EXPECT_EQ(one_too_many.receive_all(), "-ERR max number of clients reached\r\n");
    clients.clear();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (info("connected_clients") > 1) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    }
}

TEST_F(Kv, SatisfiesRedisBenchmark) {
    const Finished finished = run_to_end(
        {"redis-benchmark", "-p", std::to_string(server_.port()), "-n", "2000", "-c", "20", "-P", "4", "--csv"});
    EXPECT_EQ(finished.exit_status, 0) << finished.errors;
    for (const std::string name :
         {"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "HSET", "SPOP",
          "ZADD", "ZPOPMIN", "LRANGE_100 (first 100 elements)", "LRANGE_600 (first 600 elements)", "MSET (10 keys)"}) {
        EXPECT_THAT(finished.output, testing::HasSubstr("\n\"" + name + "\",\"")) << name;
    }
    EXPECT_THAT(finished.output + finished.errors, testing::Not(testing::HasSubstr("ERR")));
    EXPECT_THAT(finished.output + finished.errors, testing::Not(testing::HasSubstr("WARNING")));
}

TEST_F(Kv, SatisfiesRedisCli) {
    const std::string port = std::to_string(server_.port());
    EXPECT_EQ(run_to_end({"redis-cli", "-p", port, "set", "k", "v"}).output, "OK\n");
    EXPECT_EQ(run_to_end({"redis-cli", "-p", port, "get", "k"}).output, "v\n");
    EXPECT_EQ(run_to_end({"redis-cli", "-p", port, "-r", "3", "incr", "n"}).output, "1\n2\n3\n");
    EXPECT_THAT(run_to_end({"redis-cli", "-p", port, "info", "server"}).output,
                testing::HasSubstr("redis_version:7.0.0"));
    EXPECT_EQ(run_to_end({"redis-cli", "-p", port, "config", "get", "save"}).output, "save\n\n");
    EXPECT_EQ(run_to_end({"redis-cli", "-p", port, "shutdown"}).exit_status, 0);
}

TEST(KvCommandLine, SaysWhatIsWrong) {
    const Finished help = run_to_end({kKv, "--help"});
    EXPECT_EQ(help.exit_status, 0);
    EXPECT_THAT(help.output, testing::HasSubstr("Example:\n  kv --port 6379"));

    const Finished unknown = run_to_end({kKv, "--ports", "1"});
    EXPECT_EQ(unknown.exit_status, 2);
    EXPECT_EQ(unknown.errors, "kv: --ports: unknown; --help lists the options\n");
    EXPECT_EQ(run_to_end({kKv, "--port", "65536"}).errors, "kv: --port 65536: give a port from 1 to 65535\n");
    EXPECT_EQ(run_to_end({kKv, "--max-memory=1X"}).errors,
              "kv: --max-memory 1X: give a number of bytes, as 4096, 64K, 16M or 1G\n");

    const ServerProcess running(kKv);
    const std::string port = std::to_string(running.port());
    const Finished taken = run_to_end({kKv, "--port", port});
    EXPECT_EQ(taken.exit_status, 1);
    EXPECT_EQ(taken.errors, "kv: cannot use port " + port + " (choose another with --port): Address already in use\n");
}

}  // namespace
}  // namespace understudy::programs
