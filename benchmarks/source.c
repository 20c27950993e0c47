/* The broadcast source: as many WebSockets as are asked for, and a fixed number of broadcasts a second on all of them.
 *
 *     source SOCKETS RATE LEAD DRAIN TEXTS LOG
 *
 * It listens on a free port of 127.0.0.1 and prints "port P". When SOCKETS handshakes are done it prints "start T" (ns since the
 * epoch): broadcast n is due at T + n/RATE seconds, T being LEAD seconds ahead. Broadcast n is line n of the file TEXTS, in which
 * the 24 characters of MARK are replaced by the time of sending. At the end it waits DRAIN seconds for those that lag behind, closes
 * everything with 1000, writes two int64 a broadcast to the file LOG (ns: its first and after its last write), and prints one line of
 * JSON. The rule here: nobody is dropped and nothing is skipped. All bytes ever sent are one string, and each socket has its own place
 * in it; whoever cannot take more is left where it is and goes on from there when it can. What is due by the time it gets round to
 * writing goes out in one write a socket ("passes" counts the rounds), as it would from a server's send buffer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MARK "@@@@@@@@@@@@@@@@@@@@@@@@"
#define SEND_BUFFER 131072 /* bytes; what a slow reader has not taken stays here, where it is seen, and not in the kernel */
#define EVENTS 1024
#define HEAD 4096
#define BILLION 1000000000LL

struct peer {
    int fd;
    int blocked;
    size_t sent;
};

static struct peer *peers;
static char *stream;   /* every frame ever sent, one after the other */
static size_t head;    /* how much of it is written so far */
static long long refusals, open_sockets;
static size_t worst;   /* the most bytes that one peer was ever behind */
static int poll_fd;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * BILLION + t.tv_nsec;
}

/* SHA-1 (FIPS 180-4) of a message of at most 119 bytes, which is all that a handshake needs. */
static uint32_t turn(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

static void sha1(const char *message, size_t length, unsigned char digest[20]) {
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char padded[128] = {0};
    size_t blocks = length < 56 ? 1 : 2;
    memcpy(padded, message, length);
    padded[length] = 0x80;
    padded[blocks * 64 - 2] = (unsigned char)(length * 8 >> 8);
    padded[blocks * 64 - 1] = (unsigned char)(length * 8);
    for (size_t block = 0; block < blocks; block++) {
        uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
        for (int i = 0; i < 16; i++) {
            const unsigned char *at = padded + block * 64 + i * 4;
            w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        }
        for (int i = 16; i < 80; i++) w[i] = turn(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t mixed, constant;
            if (i < 20) mixed = (b & c) | (~b & d), constant = 0x5A827999;
            else if (i < 40) mixed = b ^ c ^ d, constant = 0x6ED9EBA1;
            else if (i < 60) mixed = (b & c) | (b & d) | (c & d), constant = 0x8F1BBCDC;
            else mixed = b ^ c ^ d, constant = 0xCA62C1D6;
            uint32_t next = turn(a, 5) + mixed + e + constant + w[i];
            e = d, d = c, c = turn(b, 30), b = a, a = next;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
    }
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64_of_20(const unsigned char in[20], char out[29]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char padded[21] = {0};
    memcpy(padded, in, 20);
    for (int group = 0; group < 7; group++) {
        const unsigned char *at = padded + group * 3;
        uint32_t bits = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        for (int i = 0; i < 4; i++) out[group * 4 + i] = letters[bits >> (18 - 6 * i) & 63];
    }
    out[27] = '=';
    out[28] = 0;
}

/* Read one request head and answer it; blocks, since nothing else is to be done before all are connected. */
static void shake_hands(int fd) {
    char request[HEAD], joined[128], accepted[29], answer[256];
    unsigned char digest[20];
    size_t length = 0;
    do {
        ssize_t got = length < HEAD - 1 ? read(fd, request + length, HEAD - 1 - length) : 0;
        if (got <= 0) die("handshake");
        length += (size_t)got;
        request[length] = 0;
    } while (!strstr(request, "\r\n\r\n"));
    const char *key = strcasestr(request, "\r\nsec-websocket-key:");
    if (!key) die("a request without Sec-WebSocket-Key");
    key += strlen("\r\nsec-websocket-key:");
    key += strspn(key, " \t");
    snprintf(joined, sizeof joined, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", (int)(strcspn(key, " \t\r") < 64 ? strcspn(key, " \t\r") : 64), key);
    sha1(joined, strlen(joined), digest);
    base64_of_20(digest, accepted);
    int size = snprintf(answer, sizeof answer,
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Accept: %s\r\n\r\n", accepted);
    if (write(fd, answer, (size_t)size) != size) die("answer");
}

static void wanted_events(int peer, int blocked) {
    struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.u32 = (uint32_t)peer};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, peers[peer].fd, &event);
    peers[peer].blocked = blocked;
}

static void forget(int peer) {
    close(peers[peer].fd);
    peers[peer].fd = -1;
    open_sockets--;
}

/* Send what this peer has not had yet. */
static void push(int peer) {
    struct peer *p = &peers[peer];
    while (p->sent < head) {
        ssize_t done = send(p->fd, stream + p->sent, head - p->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (done >= 0) {
            p->sent += (size_t)done;
        } else if (errno == EAGAIN) {
            refusals++;
            if (!p->blocked) wanted_events(peer, 1);
            return;
        } else if (errno != EINTR) {
            forget(peer);
            return;
        }
    }
    if (p->blocked) wanted_events(peer, 0);
}

/* Handle what the peers do until `until` (ns since the epoch), or once when that is past. Replies are read and dropped. */
static void serve(int timer, int64_t until) {
    struct epoll_event events[EVENTS];
    char waste[4096];
    int64_t now = now_ns();
    if (until > now) {
        struct itimerspec at = {.it_value = {until / BILLION, until % BILLION}};
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
    }
    do {
        int count = epoll_wait(poll_fd, events, EVENTS, until > now ? -1 : 0);
        for (int i = 0; i < count; i++) {
            int peer = (int)events[i].data.u32;
            if (events[i].data.u32 == UINT32_MAX) {
                if (read(timer, waste, 8) < 0) continue;
            } else if (peers[peer].fd >= 0) {
                if (events[i].events & EPOLLOUT) push(peer);
                if (peers[peer].fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                    ssize_t got = recv(peers[peer].fd, waste, sizeof waste, MSG_DONTWAIT);
                    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) forget(peer);
                }
            }
        }
        now = now_ns();
    } while (until > now && open_sockets);
}

static void stamp(char *mark, int64_t at) {
    time_t seconds = at / BILLION;
    struct tm utc;
    char text[32], whole[64];
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(whole, sizeof whole, "%s.%03dZ", text, (int)(at % BILLION / 1000000));
    memcpy(mark, whole, strlen(MARK));
}

static size_t append_frame(const char *text, size_t length, int64_t at) {
    unsigned char *frame = (unsigned char *)stream + head;
    size_t header = length < 126 ? 2 : 4;
    frame[0] = 0x81;
    frame[1] = (unsigned char)(length < 126 ? length : 126);
    if (header == 4) frame[2] = (unsigned char)(length >> 8), frame[3] = (unsigned char)length;
    memcpy(frame + header, text, length);
    char *mark = memmem(frame + header, length, MARK, strlen(MARK));
    if (mark) stamp(mark, at);
    return header + length;
}

int main(int count, char **words) {
    if (count != 7) {
        fprintf(stderr, "usage: source SOCKETS RATE LEAD DRAIN TEXTS LOG\n");
        return 2;
    }
    int sockets = atoi(words[1]), broadcasts = 0;
    double rate = atof(words[2]), lead = atof(words[3]), drain = atof(words[4]);
    FILE *texts = fopen(words[5], "r"), *log = fopen(words[6], "w");
    if (!texts || !log) die("TEXTS or LOG");
    char *line = NULL, **lines = NULL;
    size_t room = 0, total = 0;
    ssize_t length;
    while ((length = getline(&line, &room, texts)) > 0) {
        line[length - 1] = 0;
        if (length > 65535) die("a line longer than a frame of 16 bits");
        lines = realloc(lines, sizeof *lines * (size_t)(broadcasts + 1));
        lines[broadcasts++] = strdup(line);
        total += (size_t)length + 4;
    }
    stream = malloc(total + 4);
    peers = calloc((size_t)sockets, sizeof *peers);
    int64_t *moments = calloc((size_t)broadcasts * 2, sizeof *moments);

    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, buffer = SEND_BUFFER;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);

    poll_fd = epoll_create1(0);
    for (int i = 0; i < sockets; i++) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) die("accept");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
        shake_hands(fd);
        peers[i].fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event)) die("epoll");
        open_sockets++;
    }
    int timer = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    struct epoll_event ticking = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer, &ticking);

    struct rusage before, after;
    int64_t start = now_ns() + (int64_t)(lead * 1e9);
    printf("start %lld\n", (long long)start);
    fflush(stdout);
    getrusage(RUSAGE_SELF, &before);
    long long passes = 0;
    for (int n = 0, first; n < broadcasts; passes++) {
        serve(timer, start + (int64_t)(n / rate * 1e9));
        int64_t at = now_ns();
        for (first = n; n == first || (n < broadcasts && start + (int64_t)(n / rate * 1e9) <= at); n++) {
            head += append_frame(lines[n], strlen(lines[n]), at);
            moments[2 * n] = at;
        }
        for (int i = 0; i < sockets; i++) {
            if (peers[i].fd < 0) continue;
            if (!peers[i].blocked) push(i);
            if (head - peers[i].sent > worst) worst = head - peers[i].sent;
        }
        for (int64_t end = now_ns(); first < n; first++) moments[2 * first + 1] = end;
    }
    getrusage(RUSAGE_SELF, &after);
    size_t all = head, written = 0;
    long long behind = 1;
    for (int64_t until = now_ns() + (int64_t)(drain * 1e9); behind && now_ns() < until;) {
        serve(timer, now_ns() + 10000000);
        behind = 0;
        for (int i = 0; i < sockets; i++) behind += peers[i].fd >= 0 && peers[i].sent < all;
    }
    memcpy(stream + head, "\x88\x02\x03\xe8", 4);
    head += 4;
    long long gone = sockets - open_sockets;
    for (int i = 0; i < sockets; i++) {
        written += peers[i].sent < all ? peers[i].sent : all;
        if (peers[i].fd >= 0 && peers[i].sent == all) push(i);
    }
    if (!behind) serve(timer, now_ns() + 2 * BILLION); /* ends as soon as everybody has answered and gone */
    fwrite(moments, sizeof *moments, (size_t)broadcasts * 2, log);
    fclose(log);
    double cpu = (double)(after.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_utime.tv_sec - before.ru_stime.tv_sec) +
                 (double)(after.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_utime.tv_usec - before.ru_stime.tv_usec) * 1e-6;
    printf("{\"broadcasts\":%d,\"bytes\":%zu,\"bytes_due\":%zu,\"refusals\":%lld,\"most_behind\":%zu,\"behind\":%lld,\"gone\":%lld,\"passes\":%lld,\"cpu\":%.6f}\n",
           broadcasts, written, all * (size_t)sockets, refusals, worst, behind, gone, passes, cpu);
    return 0;
}
