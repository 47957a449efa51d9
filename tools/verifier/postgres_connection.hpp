// A connection of the verifying client to a PostgreSQL server, by libpq: as user `postgres`, without a password, to the
// database of that name. What it asks and what it makes of the answers is its LedgerModel's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <string>

#include "tools/verifier/connection.hpp"
#include "tools/verifier/ledger_model.hpp"
#include "tools/verifier/libpq.hpp"

namespace understudy::tools {

class PostgresConnection final : public VerifierConnection {
  public:
    PostgresConnection(Owner& owner, boost::asio::io_context& io, const Endpoints& endpoints, LedgerModel model);
    ~PostgresConnection() override;

  private:
    using Descriptor = boost::asio::posix::stream_descriptor;

    void open() override;
    void shut() override;
    void ask() override { send(model_.next()); }
    // The greeting makes the tables, a check reads the connection's own transactions and everybody's sums.
    void ask_of_series(Series which, std::size_t position) override;
    [[nodiscard]] std::size_t length_of(Series which) const override;
    void leave_in_doubt() override { model_.leave_in_doubt(request_); }

    void go_on_connecting(Descriptor::wait_type wanted);
    void poll_connecting();
    void not_connected();
    void send(LedgerRequest request);
    void flush();
    void receive();
    bool take_results();
    void take(const pg_result& result);

    LedgerModel model_;
    std::size_t endpoint_ = 0;  // that is tried next, or that it is connected to
    PostgresHandle connection_;
    Descriptor descriptor_;  // a duplicate of libpq's socket, to wait for it
    LedgerRequest request_;  // sent last
    LedgerAnswer answer_;    // as far as it has come
    std::string complaint_;  // of libpq: the server said what nobody asked for
};

}  // namespace understudy::tools
