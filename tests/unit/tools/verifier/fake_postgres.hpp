// A server of PostgreSQL's protocol on loopback, as honest or as broken as a test wants it. It understands the
// verifying client's own statements and no others.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <charconv>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace understudy::tools::testing {

// What is done wrong, to the Nth transaction.
enum class Wrong : std::uint8_t { nothing, lose, lose_the_line, repeat, fail, drop, answer_twice };
constexpr std::size_t kWrongAt = 100;

inline std::string big_endian(std::uint32_t value, unsigned bytes) {
    std::string text;
    for (unsigned i = bytes; i-- > 0;) {
        text += static_cast<char>(value >> (8 * i));
    }
    return text;
}

// A message of the protocol: type, length, body.
inline std::string message(char type, const std::string& body) {
    return type + big_endian(static_cast<std::uint32_t>(body.size() + 4), 4) + body;
}

// A result of one row.
inline std::string row(const std::vector<std::int64_t>& numbers) {
    const auto count = big_endian(static_cast<std::uint32_t>(numbers.size()), 2);
    std::string columns = count;
    std::string values = count;
    for (const std::int64_t number : numbers) {
        const std::string text = std::to_string(number);
        columns += std::string("n\0", 2) + big_endian(0, 4) + big_endian(0, 2) + big_endian(20, 4) + big_endian(8, 2) +
                   big_endian(0xffffffff, 4) + big_endian(0, 2);
        values += big_endian(static_cast<std::uint32_t>(text.size()), 4) + text;
    }
    return message('T', columns) + message('D', values) + message('C', std::string("SELECT 1\0", 9));
}

inline const std::string kReady = message('Z', "I");

// The integers behind `mark`, separated by other characters.
inline std::vector<std::int64_t> integers_behind(std::string_view text, std::string_view mark) {
    const auto begin = text.find(mark);
    std::vector<std::int64_t> found;
    const char* at = text.data() + (begin == std::string_view::npos ? text.size() : begin + mark.size());
    const char* const end = text.data() + text.size();
    while (at < end) {
        std::int64_t number = 0;
        const auto [next, error] = std::from_chars(at, end, number);
        if (error == std::errc{}) {
            found.push_back(number);
        }
        at = error == std::errc{} ? next : at + 1;
    }
    return found;
}

class FakeLedger {
  public:
    explicit FakeLedger(Wrong wrong) : wrong_(wrong) {}

    // The answer to a query; empty: the connection ends.
    std::string execute(std::string_view sql) {
        if (sql.find("CREATE TABLE") != std::string_view::npos) {
            return message('C', std::string("COMMIT\0", 7)) + kReady;
        }
        if (sql.find("SELECT transactions") != std::string_view::npos) {
            return row(numbers_of(tellers_[integers_behind(sql, "WHERE teller = ").at(0)])) + kReady;
        }
        if (sql.find("_ledger VALUES") != std::string_view::npos) {
            const auto values = integers_behind(sql, "_ledger VALUES ");
            return transfer(tellers_[values.at(0)], values.at(1), values.at(3));
        }
        return row({total_, total_, total_}) + kReady;
    }

  private:
    struct Teller {
        std::int64_t transactions = 0;
        std::int64_t balance = 0;
        std::vector<std::pair<std::int64_t, std::int64_t>> lines;  // number, amount
    };

    static std::vector<std::int64_t> numbers_of(const Teller& teller) {
        std::set<std::int64_t> numbers;
        std::int64_t sum = 0;
        for (const auto& [number, amount] : teller.lines) {
            numbers.insert(number);
            sum += amount;
        }
        return {teller.transactions, teller.balance, static_cast<std::int64_t>(teller.lines.size()),
                static_cast<std::int64_t>(numbers.size()), sum};
    }

    std::string transfer(Teller& teller, std::int64_t number, std::int64_t amount) {
        const Wrong wrong = ++transfers_ == kWrongAt ? wrong_ : Wrong::nothing;
        const Teller before = teller;
        for (int i = 0; i < (wrong == Wrong::repeat ? 2 : 1); ++i) {
            ++teller.transactions;
            teller.balance += amount;
            teller.lines.emplace_back(number, amount);
            total_ += amount;
        }
        std::string answer = row({teller.transactions, teller.balance}) + kReady;
        switch (wrong) {
            case Wrong::lose:
                teller = before;
                return answer;
            case Wrong::lose_the_line:
                teller.lines.pop_back();
                return answer;
            case Wrong::fail:
                return message('E', std::string("SERROR\0C58000\0Mout of luck\0\0", 28)) + kReady;
            case Wrong::drop:
                return {};
            case Wrong::answer_twice:
                return answer + message('C', std::string("COMMIT\0", 7));
            default:
                return answer;
        }
    }

    Wrong wrong_;
    std::size_t transfers_ = 0;
    std::int64_t total_ = 0;
    std::map<std::int64_t, Teller> tellers_;
};

class FakePostgres {
  public:
    explicit FakePostgres(Wrong wrong = Wrong::nothing)
        : acceptor_(io_, boost::asio::ip::tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0)), ledger_(wrong) {
        accept();
        thread_ = std::thread([this] { io_.run(); });
    }
    ~FakePostgres() {
        io_.stop();
        thread_.join();
    }
    FakePostgres(const FakePostgres&) = delete;
    FakePostgres& operator=(const FakePostgres&) = delete;

    [[nodiscard]] std::string address() const {
        return "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
    }

  private:
    struct Session : std::enable_shared_from_this<Session> {
        Session(FakePostgres& owner, boost::asio::ip::tcp::socket connected)
            : server(owner), socket(std::move(connected)) {}

        // A message with its type, or, first of all, the one without.
        void read(bool typed) {
            header.resize(typed ? 5 : 4);
            boost::asio::async_read(socket, boost::asio::buffer(header),
                                    [self = shared_from_this(), typed](boost::system::error_code error, std::size_t) {
                                        if (!error) {
                                            self->read_body(typed);
                                        }
                                    });
        }
        void read_body(bool typed) {
            std::size_t size = 0;
            for (const char byte : header.substr(typed ? 1 : 0)) {
                size = size << 8U | static_cast<unsigned char>(byte);
            }
            body.resize(size - 4);
            boost::asio::async_read(socket, boost::asio::buffer(body),
                                    [self = shared_from_this(), typed](boost::system::error_code error, std::size_t) {
                                        if (!error) {
                                            self->answer(typed);
                                        }
                                    });
        }
        void answer(bool typed) {
            const std::string text = typed ? server.ledger_.execute(body) : message('R', big_endian(0, 4)) + kReady;
            if (text.empty()) {
                return;  // the last reference goes, the socket closes
            }
            boost::asio::write(socket, boost::asio::buffer(text));
            read(true);
        }

        FakePostgres& server;
        boost::asio::ip::tcp::socket socket;
        std::string header;
        std::string body;
    };

    void accept() {
        acceptor_.async_accept([this](boost::system::error_code error, boost::asio::ip::tcp::socket socket) {
            if (!error) {
                std::make_shared<Session>(*this, std::move(socket))->read(false);
                accept();
            }
        });
    }

    boost::asio::io_context io_;
    boost::asio::ip::tcp::acceptor acceptor_;
    FakeLedger ledger_;
    std::thread thread_;
};

}  // namespace understudy::tools::testing
