#include "tools/bench/postgres_link.hpp"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <iterator>

#include "common/error.hpp"
#include "tools/bench/await_socket.hpp"
#include "tools/bench/refused.hpp"

namespace understudy::tools {
namespace {

std::vector<std::optional<std::string>> first_column(const pg_result& result) {
    std::vector<std::optional<std::string>> rows;
    for (int row = 0; row < ::PQntuples(&result); ++row) {
        const bool is_null = ::PQgetisnull(&result, row, 0) != 0;
        rows.push_back(is_null ? std::nullopt : std::optional<std::string>(::PQgetvalue(&result, row, 0)));
    }
    return rows;
}

}  // namespace

PostgresLink::PostgresLink(const Address& server, std::chrono::milliseconds patience, const std::atomic<bool>* stopped)
    : server_(server.text()),
      patience_(patience),
      stopped_(stopped),
      connection_(begin_postgres(server.host, std::to_string(server.port))) {
    if (!connection_ || ::PQstatus(connection_.get()) == CONNECTION_BAD) {
        fail();
    }
    connect(Clock::now() + patience_);
    ::PQsetnonblocking(connection_.get(), 1);
    // What a server has to say besides its answers is for nobody here.
    ::PQsetNoticeReceiver(
        connection_.get(), [](void*, const pg_result*) {}, nullptr);
}

void PostgresLink::connect(Clock::time_point deadline) {
    // A connection that was just begun is as one that wants to write.
    for (auto wants = PGRES_POLLING_WRITING; wants != PGRES_POLLING_OK; wants = ::PQconnectPoll(connection_.get())) {
        if (wants == PGRES_POLLING_FAILED) {
            fail();
        }
        await(wants == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline, "a connection");
    }
}

std::vector<std::optional<std::string>> PostgresLink::ask(const std::string& statement,
                                                          const std::vector<std::string>& parameters) {
    const auto deadline = Clock::now() + patience_;
    send(statement, parameters, deadline);
    PostgresResult answer;
    while (PostgresResult result = receive(deadline)) {
        answer = std::move(result);
    }
    // What ends the connection comes as an answer as well.
    if (!answer || ::PQstatus(connection_.get()) == CONNECTION_BAD) {
        fail();
    }
    const auto status = ::PQresultStatus(answer.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        throw Refused(postgres_error(*answer));
    }
    return first_column(*answer);
}

void PostgresLink::send(const std::string& statement, const std::vector<std::string>& parameters,
                        Clock::time_point deadline) {
    std::vector<const char*> values;
    std::ranges::transform(parameters, std::back_inserter(values), &std::string::c_str);
    if (::PQsendQueryParams(connection_.get(), statement.c_str(), static_cast<int>(values.size()), nullptr,
                            values.data(), nullptr, nullptr, 0) == 0) {
        fail();
    }
    int left = 0;
    while ((left = ::PQflush(connection_.get())) > 0) {
        await(POLLOUT, deadline, "room for a statement");
    }
    if (left < 0) {
        fail();
    }
}

PostgresResult PostgresLink::receive(Clock::time_point deadline) {
    while (::PQisBusy(connection_.get()) != 0) {
        await(POLLIN, deadline, "an answer");
        if (::PQconsumeInput(connection_.get()) == 0) {
            fail();
        }
    }
    return PostgresResult(::PQgetResult(connection_.get()));
}

void PostgresLink::await(short events, Clock::time_point deadline, std::string_view what) const {
    if (!await_socket(::PQsocket(connection_.get()), events, deadline, stopped_)) {
        throw Error::format("waited {} ms for {} of {}", patience_.count(), what, server_);
    }
}

void PostgresLink::fail() const {
    throw Error::format("{}: {}", server_, postgres_error(connection_));
}

}  // namespace understudy::tools
