# Read by the image's start script when the database is made: the role that Sentinel watches with.
psql --no-psqlrc --set ON_ERROR_STOP=1 --dbname "$POSTGRES_DB" --username "$POSTGRES_USER" \
    --set password="$(cat /run/secrets/sentinel-password)" --file /etc/sentinel/role.sql
