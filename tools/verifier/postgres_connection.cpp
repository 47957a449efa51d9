#include "tools/verifier/postgres_connection.hpp"

#include <fcntl.h>
#include <libpq-fe.h>

#include <charconv>
#include <cstddef>
#include <iterator>
#include <string_view>
#include <utility>

namespace understudy::tools {
namespace {

using boost::system::error_code;

// More rows than this answer no request of ours.
constexpr std::size_t kMaxNumbers = 64;

// The server's notices are nothing to us; what libpq itself has to say of an idle connection is.
void note(void* complaint, const char* message) {
    const std::string_view text(message);
    if (text.find("while idle") != std::string_view::npos) {
        *static_cast<std::string*>(complaint) = one_line(text);
    }
}

}  // namespace

PostgresConnection::PostgresConnection(Owner& owner, boost::asio::io_context& io, const Endpoints& endpoints,
                                       LedgerModel model)
    : VerifierConnection(owner, io, endpoints), model_(std::move(model)), descriptor_(io) {}

PostgresConnection::~PostgresConnection() {
    PostgresConnection::shut();
}

void PostgresConnection::open() {
    const auto endpoint = std::next(endpoints().begin(), static_cast<std::ptrdiff_t>(endpoint_))->endpoint();
    connection_ = begin_postgres(endpoint.address().to_string(), std::to_string(endpoint.port()));
    if (!connection_ || ::PQstatus(connection_.get()) == CONNECTION_BAD) {
        not_connected();
        return;
    }
    ::PQsetNoticeProcessor(connection_.get(), note, &complaint_);
    descriptor_.assign(::fcntl(::PQsocket(connection_.get()), F_DUPFD_CLOEXEC, 0));
    go_on_connecting(Descriptor::wait_write);
}

void PostgresConnection::shut() {
    error_code ignored;
    descriptor_.close(ignored);
    connection_.reset();
    complaint_.clear();
}

void PostgresConnection::go_on_connecting(Descriptor::wait_type wanted) {
    descriptor_.async_wait(wanted, [this, mine = attempt()](error_code error) {
        if (!error && mine == attempt()) {
            poll_connecting();
        }
    });
}

void PostgresConnection::poll_connecting() {
    switch (::PQconnectPoll(connection_.get())) {
        case PGRES_POLLING_READING:
            go_on_connecting(Descriptor::wait_read);
            return;
        case PGRES_POLLING_WRITING:
            go_on_connecting(Descriptor::wait_write);
            return;
        case PGRES_POLLING_OK:
            ::PQsetnonblocking(connection_.get(), 1);
            receive();
            opened();
            return;
        default:
            not_connected();
            return;
    }
}

// libpq is given numbers, one address at a time: a name's next address is the next attempt's.
void PostgresConnection::not_connected() {
    endpoint_ = (endpoint_ + 1) % endpoints().size();
    failed(postgres_error(connection_));
}

void PostgresConnection::ask_of_series(Series which, std::size_t position) {
    if (which == Series::greeting) {
        send(model_.prepare());
    } else {
        send(position == 0 ? model_.read() : model_.sums());
    }
}

std::size_t PostgresConnection::length_of(Series which) const {
    return which == Series::greeting ? 1 : 2;
}

void PostgresConnection::send(LedgerRequest request) {
    request_ = std::move(request);
    answer_ = {};
    // A connection that cannot be written to ends, and the reader hears of it.
    if (::PQsendQuery(connection_.get(), request_.sql.c_str()) == 1) {
        flush();
    }
}

void PostgresConnection::flush() {
    if (::PQflush(connection_.get()) == 1) {
        descriptor_.async_wait(Descriptor::wait_write, [this, mine = attempt()](error_code error) {
            if (!error && mine == attempt()) {
                flush();
            }
        });
    }
}

void PostgresConnection::receive() {
    descriptor_.async_wait(Descriptor::wait_read, [this, mine = attempt()](error_code error) {
        if (mine != attempt()) {
            return;
        }
        if (error || ::PQconsumeInput(connection_.get()) == 0) {
            dropped(error ? error.message() : postgres_error(connection_));
            return;
        }
        if (take_results()) {
            receive();
        }
    });
}

// False when the connection is no more.
bool PostgresConnection::take_results() {
    const auto mine = attempt();
    while (outstanding() && ::PQisBusy(connection_.get()) == 0) {
        const PostgresResult result(::PQgetResult(connection_.get()));
        if (result) {
            take(*result);
            continue;
        }
        if (::PQstatus(connection_.get()) == CONNECTION_BAD) {
            dropped(postgres_error(connection_));
            return false;
        }
        answered(model_.judge(request_, answer_));
        if (mine != attempt()) {
            return false;
        }
    }
    if (!outstanding()) {
        ::PQisBusy(connection_.get());  // has libpq look at what came unasked
    }
    if (const std::string complaint = std::exchange(complaint_, {}); !complaint.empty()) {
        contradicted("an answer to no request: " + complaint);
    }
    return true;
}

void PostgresConnection::take(const pg_result& result) {
    const auto status = ::PQresultStatus(&result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        answer_.error = postgres_error(result);
        return;
    }
    for (int row = 0; row < ::PQntuples(&result); ++row) {
        for (int column = 0; column < ::PQnfields(&result) && answer_.numbers.size() < kMaxNumbers; ++column) {
            const std::string_view text(::PQgetvalue(&result, row, column));
            std::int64_t number = 0;
            std::from_chars(text.data(), text.data() + text.size(), number);
            answer_.numbers.push_back(number);
        }
    }
}

}  // namespace understudy::tools
