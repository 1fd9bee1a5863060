using System.Text;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Service.Durability;

/// <summary>The kinds of record in the journal. The numbers are on disk.</summary>
internal enum RecordKind : byte
{
    /// <summary>A request was let in: number, key, id, boot, message.</summary>
    Received = 1,

    /// <summary>Work on it began.</summary>
    Started = 2,

    /// <summary>A tool is about to act for it.</summary>
    Acting = 3,

    /// <summary>Somebody cancelled it.</summary>
    Cancelled = 4,

    /// <summary>It has ended: number, key, hash, time and the final event, which the earlier records are not needed for.</summary>
    Final = 5,

    /// <summary>The broker has answered for the final event.</summary>
    Answered = 6,

    /// <summary>The service stopped in good order while it ran: that start does not count.</summary>
    Paused = 7,
}

/// <summary>Bodies of the journal's records: .NET's BinaryWriter, little-endian, strings in UTF-8 with their length.</summary>
internal static class LedgerRecords
{
    public static byte[] Number(long number) => Body(writer => writer.Write(number));

    public static byte[] Received(LedgerEntry entry) => Body(writer =>
    {
        InboundMessage message = entry.Message!;
        WriteHead(writer, entry);
        writer.Write(entry.Id);
        writer.Write(entry.Boot.ToByteArray());
        writer.Write(message.Topic);
        WriteBytes(writer, message.Payload.Span);
        writer.Write(message.ReceivedTimestamp);
        writer.Write(message.Sender);
        writer.Write(message.Pool);
        writer.Write(message.PacketId);
        writer.Write(message.ResponseTopic ?? "");
        WriteBytes(writer, message.CorrelationData);
        writer.Write(message.ExpirySeconds);
    });

    public static LedgerEntry ReadReceived(BinaryReader reader)
    {
        LedgerEntry entry = ReadHead(reader);
        entry.Id = reader.ReadString();
        entry.Boot = new Guid(ReadExactly(reader, 16));
        string topic = reader.ReadString();
        byte[] payload = ReadBytes(reader) ?? [];
        entry.Message = new InboundMessage(topic, payload)
        {
            ReceivedTimestamp = reader.ReadInt64(),
            Sender = reader.ReadString(),
            Pool = reader.ReadBoolean(),
            PacketId = reader.ReadUInt16(),
            ResponseTopic = reader.ReadString() is { Length: > 0 } responseTopic ? responseTopic : null,
            CorrelationData = ReadBytes(reader),
            ExpirySeconds = reader.ReadUInt32(),
        };
        return entry;
    }

    public static byte[] Final(LedgerEntry entry) => Body(writer =>
    {
        StoredReply final = entry.Final!;
        WriteHead(writer, entry);
        writer.Write(final.Topic);
        WriteBytes(writer, final.Correlation);
        writer.Write(final.Retain);
        WriteBytes(writer, final.Payload);
    });

    public static LedgerEntry ReadFinal(BinaryReader reader)
    {
        LedgerEntry entry = ReadHead(reader);
        string topic = reader.ReadString();
        byte[]? correlation = ReadBytes(reader);
        entry.Final = new StoredReply(topic, correlation, reader.ReadBoolean(), ReadBytes(reader) ?? []);
        return entry;
    }

    private static void WriteHead(BinaryWriter writer, LedgerEntry entry)
    {
        writer.Write(entry.Number);
        writer.Write(entry.Key);
        writer.Write((ulong)(entry.Hash >> 64));
        writer.Write((ulong)entry.Hash);
        writer.Write(entry.ReceivedUnixMs);
    }

    private static LedgerEntry ReadHead(BinaryReader reader) =>
        new(reader.ReadInt64(), reader.ReadString(), new UInt128(reader.ReadUInt64(), reader.ReadUInt64()), reader.ReadInt64());

    private static void WriteBytes(BinaryWriter writer, ReadOnlySpan<byte> bytes)
    {
        writer.Write(bytes.Length);
        writer.Write(bytes);
    }

    /// <summary>Null where there are none.</summary>
    private static byte[]? ReadBytes(BinaryReader reader)
    {
        int length = reader.ReadInt32();
        return length == 0 ? null : ReadExactly(reader, length);
    }

    private static byte[] ReadExactly(BinaryReader reader, int length)
    {
        byte[] bytes = reader.ReadBytes(length is >= 0 and <= RecordFile.MaxBodyBytes ? length : throw new EndOfStreamException());
        return bytes.Length == length ? bytes : throw new EndOfStreamException();
    }

    private static byte[] Body(Action<BinaryWriter> write)
    {
        using var stream = new MemoryStream();
        using (var writer = new BinaryWriter(stream, Encoding.UTF8, leaveOpen: true))
        {
            write(writer);
        }

        return stream.ToArray();
    }
}
